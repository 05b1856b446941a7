# What a number in a record could blow up is bounded.
table n bigint, s string
3 | ab
2000000000 | ab
-1 | ab
NULL | ab
9223372036854775807 | ab

value
repeat(s, n)
----
string
ababab
error: repeat would give a text of more than 1048576 bytes
''
NULL
error: repeat would give a text of more than 1048576 bytes

value
lpad(s, n, '*')
----
string
*ab
error: lpad would give a text of more than 1048576 bytes
error: overflow
NULL
error: lpad would give a text of more than 1048576 bytes

value
rpad(s, n, '*')
----
string
ab*
error: rpad would give a text of more than 1048576 bytes
error: overflow
NULL
error: rpad would give a text of more than 1048576 bytes

value
range(n)
----
list<bigint>
[0, 1, 2]
error: range would give a list of more than 100000 elements
[]
NULL
error: range would give a list of more than 100000 elements

value
generate_series(1, n)
----
list<bigint>
[1, 2, 3]
error: generate_series would give a list of more than 100000 elements
[]
NULL
error: generate_series would give a list of more than 100000 elements

value
range(5, n, -2)
----
list<bigint>
[5]
[]
[5, 3, 1]
NULL
[]

value
array_repeat(s, n)
----
list<string>
[ab, ab, ab]
error: array_repeat would give a list of more than 100000 elements
[]
NULL
error: array_repeat would give a list of more than 100000 elements

value
array_resize(make_array(s), n)
----
list<string>
[ab, NULL, NULL]
error: array_resize would give a list of more than 100000 elements
error: array_resize: failed to convert size to usize
NULL
error: array_resize would give a list of more than 100000 elements

value
array_resize(make_array(s), n, 'x')
----
list<string>
[ab, x, x]
error: array_resize would give a list of more than 100000 elements
error: array_resize: failed to convert size to usize
NULL
error: array_resize would give a list of more than 100000 elements

value
replace(repeat('a', 1000000), 'a', repeat('b', 1000000)) = ''
----
problem 1:1: replace would give a text of more than 1048576 bytes

value
regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000000), 'g') = ''
----
problem 1:1: regexp_replace would give a text of more than 1048576 bytes

value
length(replace(repeat('a', 1000), 'a', repeat('b', 100)))
----
int
100000
100000
100000
100000
100000

value
round(1.5, n)
----
decimal(3,1)
1.5
1.5
0.0
NULL
error: can't cast value 9223372036854775807 to type int

value
left(s, n)
----
string
ab
ab
a
NULL
ab

value
substr(s, n)
----
string
''
''
ab
NULL
''

value
split_part(s, 'a', n)
----
string
''
''
b
NULL
''

value
chr(n)
----
string

error: invalid Unicode scalar value: 2000000000
error: invalid Unicode scalar value: -1
NULL
error: invalid Unicode scalar value: 9223372036854775807
