# Functions over texts
table s string, n int
hello World | 3
'' | 0
NULL | NULL
ÄÖü | -2

value
upper(s)
----
string
HELLO WORLD
''
NULL
ÄÖÜ

value
lower(s)
----
string
hello world
''
NULL
äöü

value
length(s)
----
int
11
0
NULL
3

value
octet_length(s)
----
int
11
0
NULL
6

value
trim(s)
----
string
hello World
''
NULL
ÄÖü

value
btrim(s, 'ho')
----
string
ello World
''
NULL
ÄÖü

value
substr(s, 2, 3)
----
string
ell
''
NULL
Öü

value
substring(s FROM 2 FOR 3)
----
string
ell
''
NULL
Öü

value
left(s, n)
----
string
hel
''
NULL
Ä

value
right(s, n)
----
string
rld
''
NULL
ü

value
lpad(s, 13, '*')
----
string
**hello World
*************
NULL
**********ÄÖü

value
rpad(s, 13)
----
string
hello World  
             
NULL
ÄÖü

value
repeat(s, n)
----
string
hello Worldhello Worldhello World
''
NULL
''

value
replace(s, 'l', 'L')
----
string
heLLo WorLd
''
NULL
ÄÖü

value
reverse(s)
----
string
dlroW olleh
''
NULL
üÖÄ

value
split_part(s, ' ', 2)
----
string
World
''
NULL
''

value
strpos(s, 'o')
----
int
5
0
NULL
0

value
position('o' IN s)
----
int
5
0
NULL
0

value
s || '-' || n
----
string
hello World-3
-0
NULL
ÄÖü--2

value
concat(s, '-', n)
----
string
hello World-3
-0
-
ÄÖü--2

value
concat_ws('-', s, n)
----
string
hello World-3
-0
''
ÄÖü--2

value
starts_with(s, 'he')
----
boolean
true
false
NULL
false

value
ends_with(s, 'ld')
----
boolean
true
false
NULL
false

value
contains(s, 'lo')
----
boolean
true
false
NULL
false

value
s LIKE 'h%'
----
boolean
true
false
NULL
false

value
s ILIKE 'H%'
----
boolean
true
false
NULL
false

value
s NOT LIKE '%o%'
----
boolean
false
true
NULL
true

value
s SIMILAR TO 'h.*'
----
boolean
true
false
NULL
false

value
regexp_like(s, '^h')
----
boolean
true
false
NULL
false

value
regexp_match(s, '(l+)o')
----
list<string>
[ll]
NULL
NULL
NULL

value
regexp_replace(s, 'l+', 'L', 'g')
----
string
heLo WorLd
''
NULL
ÄÖü

value
regexp_count(s, 'l')
----
bigint
3
0
NULL
0

value
s ~ '[A-Z]'
----
boolean
true
false
NULL
false

value
s !~* '[a-z]'
----
boolean
false
true
NULL
true

value
md5(s)
----
string
39d11ab1c3c6c9eab3f5b3675f438dbf
d41d8cd98f00b204e9800998ecf8427e
NULL
f488bda1b642b4ff93ac33e6ded6aa0e

value
sha256(s)
----
binary
x'db4067cec62c58bf8b2f8982071e77c082da9e00924bf3631f3b024fa54e7d7e'
x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
NULL
x'f5c30c14abf65e572e0b023c31568814871e518405b4fdc9e41ab98961ede97b'

value
digest(s, 'sha512')
----
binary
x'1ca107777d9d999bdd8099875438919b5dca244104e393685f7d05f4feb5f181f1878e1178daf1a8c97c5b290222609c9515dd096344b625b37d7a8910076ed2'
x'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e'
NULL
x'55464acbbe6bbe1d2e44085b03f041c7cd625150f530e90051845a247616d716e3addcd18d0cd123d5887598ed1fa9bfb7d184441d487fcd2d68bdc4398df4fb'

value
encode(s, 'hex')
----
string
68656c6c6f20576f726c64
''
NULL
c384c396c3bc

value
encode(s, 'base64')
----
string
aGVsbG8gV29ybGQ
''
NULL
w4TDlsO8

value
decode('68656c6c6f', 'hex')
----
binary
x'68656c6c6f'
x'68656c6c6f'
x'68656c6c6f'
x'68656c6c6f'

value
ascii(s)
----
int
104
0
NULL
196

value
chr(65)
----
string
A
A
A
A

value
to_hex(n)
----
string
3
0
NULL
fffffffffffffffe

value
initcap(s)
----
string
Hello World
''
NULL
Äöü

value
translate(s, 'el', 'ip')
----
string
hippo Worpd
''
NULL
ÄÖü

value
levenshtein(s, 'hello')
----
int
6
5
NULL
5

value
overlay(s PLACING 'xx' FROM 2 FOR 3)
----
string
hxxo World
xx
NULL
Äxx

value
find_in_set('a', 'b,a')
----
int
2
2
2
2

value
bit_length(s)
----
int
88
0
NULL
48

value
CAST(s AS BINARY)
----
binary
x'68656c6c6f20576f726c64'
x''
NULL
x'c384c396c3bc'

value
string_to_array(s, ' ')
----
list<string>
[hello, World]
[]
NULL
[ÄÖü]

value
array_to_string(string_to_array(s, ' '), '+')
----
string
hello+World
''
NULL
ÄÖü

value
nullif(s, '')
----
string
hello World
NULL
NULL
ÄÖü

value
CAST(n AS STRING)
----
string
3
0
NULL
-2

value
greatest(s, 'm')
----
string
m
m
m
ÄÖü

# Texts to other types
table s string
1
-2.5
abc
''
NULL
true
2026-01-02
2026-01-02T03:04:05Z
2026-01-02 03:04:05.123456+01:00
99999999999
1e400
NaN

value
CAST(s AS INT)
----
int
1
error: cannot cast string '-2.5' to value of int type
error: cannot cast string 'abc' to value of int type
error: cannot cast string '' to value of int type
NULL
error: cannot cast string 'true' to value of int type
error: cannot cast string '2026-01-02' to value of int type
error: cannot cast string '2026-01-02T03:04:05Z' to value of int type
error: cannot cast string '2026-01-02 03:04:05.123456+01:00' to value of int type
error: cannot cast string '99999999999' to value of int type
error: cannot cast string '1e400' to value of int type
error: cannot cast string 'NaN' to value of int type

value
CAST(s AS BIGINT)
----
bigint
1
error: cannot cast string '-2.5' to value of bigint type
error: cannot cast string 'abc' to value of bigint type
error: cannot cast string '' to value of bigint type
NULL
error: cannot cast string 'true' to value of bigint type
error: cannot cast string '2026-01-02' to value of bigint type
error: cannot cast string '2026-01-02T03:04:05Z' to value of bigint type
error: cannot cast string '2026-01-02 03:04:05.123456+01:00' to value of bigint type
99999999999
error: cannot cast string '1e400' to value of bigint type
error: cannot cast string 'NaN' to value of bigint type

value
CAST(s AS DOUBLE)
----
double
1.0
-2.5
error: cannot cast string 'abc' to value of double type
error: cannot cast string '' to value of double type
NULL
error: cannot cast string 'true' to value of double type
error: cannot cast string '2026-01-02' to value of double type
error: cannot cast string '2026-01-02T03:04:05Z' to value of double type
error: cannot cast string '2026-01-02 03:04:05.123456+01:00' to value of double type
99999999999.0
error: 1e400 is too large for the type double
NaN

value
CAST(s AS FLOAT)
----
float
1.0
-2.5
error: cannot cast string 'abc' to value of float type
error: cannot cast string '' to value of float type
NULL
error: cannot cast string 'true' to value of float type
error: cannot cast string '2026-01-02' to value of float type
error: cannot cast string '2026-01-02T03:04:05Z' to value of float type
error: cannot cast string '2026-01-02 03:04:05.123456+01:00' to value of float type
100000000000.0
error: 1e400 is too large for the type float
NaN

value
CAST(s AS DECIMAL(10,2))
----
decimal(10,2)
1.00
-2.50
error: cannot cast string 'abc' to value of decimal type
error: cannot cast string '' to value of decimal type
NULL
error: cannot cast string 'true' to value of decimal type
error: cannot cast string '2026-01-02' to value of decimal type
error: cannot cast string '2026-01-02T03:04:05Z' to value of decimal type
error: cannot cast string '2026-01-02 03:04:05.123456+01:00' to value of decimal type
error: 99999999999.00 is too large to store in a decimal of precision 10. Max is 99999999.99
error: cannot cast string '1e400' to value of decimal type
error: cannot cast string 'NaN' to value of decimal type

value
CAST(s AS BOOLEAN)
----
boolean
true
error: cannot cast value '-2.5' to value of boolean type
error: cannot cast value 'abc' to value of boolean type
error: cannot cast value '' to value of boolean type
NULL
true
error: cannot cast value '2026-01-02' to value of boolean type
error: cannot cast value '2026-01-02t03:04:05z' to value of boolean type
error: cannot cast value '2026-01-02 03:04:05.123456+01:00' to value of boolean type
error: cannot cast value '99999999999' to value of boolean type
error: cannot cast value '1e400' to value of boolean type
error: cannot cast value 'nan' to value of boolean type

value
CAST(s AS DATE)
----
date
error: cannot cast string '1' to value of date type
error: cannot cast string '-2.5' to value of date type
error: cannot cast string 'abc' to value of date type
error: cannot cast string '' to value of date type
NULL
error: cannot cast string 'true' to value of date type
2026-01-02
2026-01-02
2026-01-02
error: cannot cast string '99999999999' to value of date type
error: cannot cast string '1e400' to value of date type
error: cannot cast string 'NaN' to value of date type

value
CAST(s AS TIMESTAMP)
----
timestamp
error: error parsing timestamp from '1': timestamp must contain at least 10 characters
error: error parsing timestamp from '-2.5': timestamp must contain at least 10 characters
error: error parsing timestamp from 'abc': timestamp must contain at least 10 characters
error: error parsing timestamp from '': timestamp must contain at least 10 characters
NULL
error: error parsing timestamp from 'true': timestamp must contain at least 10 characters
2026-01-02T00:00:00Z
2026-01-02T03:04:05Z
2026-01-02T02:04:05.123456Z
error: error parsing timestamp from '99999999999': error parsing date
error: error parsing timestamp from '1e400': timestamp must contain at least 10 characters
error: error parsing timestamp from 'NaN': timestamp must contain at least 10 characters

value
TRY_CAST(s AS INT)
----
int
1
NULL
NULL
NULL
NULL
NULL
NULL
NULL
NULL
NULL
NULL
NULL

value
TRY_CAST(s AS DOUBLE)
----
double
1.0
-2.5
NULL
NULL
NULL
NULL
NULL
NULL
NULL
99999999999.0
NULL
NaN

value
TRY_CAST(s AS FLOAT)
----
float
1.0
-2.5
NULL
NULL
NULL
NULL
NULL
NULL
NULL
100000000000.0
NULL
NaN

value
TRY_CAST(s AS TIMESTAMP)
----
timestamp
NULL
NULL
NULL
NULL
NULL
NULL
2026-01-02T00:00:00Z
2026-01-02T03:04:05Z
2026-01-02T02:04:05.123456Z
NULL
NULL
NULL

value
to_timestamp(s)
----
timestamp
error: error parsing timestamp from '1': timestamp must contain at least 10 characters
error: error parsing timestamp from '-2.5': timestamp must contain at least 10 characters
error: error parsing timestamp from 'abc': timestamp must contain at least 10 characters
error: error parsing timestamp from '': timestamp must contain at least 10 characters
NULL
error: error parsing timestamp from 'true': timestamp must contain at least 10 characters
2026-01-02T00:00:00Z
2026-01-02T03:04:05Z
2026-01-02T02:04:05.123456Z
error: error parsing timestamp from '99999999999': error parsing date
error: error parsing timestamp from '1e400': timestamp must contain at least 10 characters
error: error parsing timestamp from 'NaN': timestamp must contain at least 10 characters

value
to_date(s)
----
date
error: cannot cast string '1' to value of date type
error: cannot cast string '-2.5' to value of date type
error: cannot cast string 'abc' to value of date type
error: cannot cast string '' to value of date type
NULL
error: cannot cast string 'true' to value of date type
2026-01-02
2026-01-02
2026-01-02
error: cannot cast string '99999999999' to value of date type
error: cannot cast string '1e400' to value of date type
error: cannot cast string 'NaN' to value of date type

value
s::int
----
int
1
error: cannot cast string '-2.5' to value of int type
error: cannot cast string 'abc' to value of int type
error: cannot cast string '' to value of int type
NULL
error: cannot cast string 'true' to value of int type
error: cannot cast string '2026-01-02' to value of int type
error: cannot cast string '2026-01-02T03:04:05Z' to value of int type
error: cannot cast string '2026-01-02 03:04:05.123456+01:00' to value of int type
error: cannot cast string '99999999999' to value of int type
error: cannot cast string '1e400' to value of int type
error: cannot cast string 'NaN' to value of int type

# Times
table ts timestamp, d date, n bigint
2026-01-02T03:04:05.678901Z | 2026-01-31 | 1
1969-12-31T23:59:59.999999Z | 1969-12-31 | -1
9999-12-31T23:59:59.999999Z | 9999-12-31 | 9223372036854775807
0001-01-01T00:00:00Z | 0001-01-01 | 0
NULL | NULL | NULL

value
ts + INTERVAL '1 day'
----
timestamp
2026-01-03T03:04:05.678901Z
1970-01-01T23:59:59.999999Z
+10000-01-01T23:59:59.999999Z
0001-01-02T00:00:00Z
NULL

value
ts - INTERVAL '1 month'
----
timestamp
2025-12-02T03:04:05.678901Z
1969-11-30T23:59:59.999999Z
9999-11-30T23:59:59.999999Z
0000-12-01T00:00:00Z
NULL

value
ts + INTERVAL '1 microsecond'
----
timestamp
2026-01-02T03:04:05.678902Z
1970-01-01T00:00:00Z
+10000-01-01T00:00:00Z
0001-01-01T00:00:00.000001Z
NULL

value
ts + INTERVAL '1000000 years'
----
timestamp
error: timestamp out of range
error: timestamp out of range
error: timestamp out of range
error: timestamp out of range
NULL

value
d + INTERVAL '1 month'
----
date
2026-02-28
1970-01-31
+10000-01-31
0001-02-01
NULL

value
d + 1
----
date
2026-02-01
1970-01-01
+10000-01-01
0001-01-02
NULL

value
d - d
----
bigint
0
0
0
0
NULL

value
d - DATE '2000-01-01'
----
bigint
9527
-10958
2921939
-730119
NULL

value
d + INTERVAL '300000 years'
----
date
error: date arithmetic overflow
error: date arithmetic overflow
error: date arithmetic overflow
error: date arithmetic overflow
NULL

value
d + INTERVAL '10000000 years'
----
date
error: date arithmetic overflow
error: date arithmetic overflow
error: date arithmetic overflow
error: date arithmetic overflow
NULL

value
date_trunc('hour', ts)
----
timestamp
2026-01-02T03:00:00Z
1969-12-31T23:00:00Z
error: timestamp 253402300799999999 out of range
error: timestamp -62135596800000000 out of range
NULL

value
date_trunc('month', ts)
----
timestamp
2026-01-01T00:00:00Z
1969-12-01T00:00:00Z
error: timestamp 253402300799999999 out of range
error: timestamp -62135596800000000 out of range
NULL

value
date_bin(INTERVAL '15 minutes', ts)
----
timestamp
2026-01-02T03:00:00Z
1969-12-31T23:45:00Z
error: date_bin: the time is outside of the years 1678 to 2261
error: date_bin: the time is outside of the years 1678 to 2261
NULL

value
date_bin(INTERVAL '15 minutes', ts, TIMESTAMP '2001-01-01 00:00:00Z')
----
timestamp
2026-01-02T03:00:00Z
1969-12-31T23:45:00Z
error: date_bin: the time is outside of the years 1678 to 2261
error: date_bin: the time is outside of the years 1678 to 2261
NULL

value
date_part('hour', ts)
----
int
3
23
23
0
NULL

value
extract(epoch FROM ts)
----
double
1767323045.678901
-1e-6
253402300800.0
-62135596800.0
NULL

value
extract(year FROM d)
----
int
2026
1969
9999
1
NULL

value
date_part('epoch', ts - TIMESTAMP '2026-01-01T00:00:00Z')
----
double
97445.678901
-1767225600.000001
251635075200.0
-63902822400.0
NULL

value
to_char(ts, '%Y/%m/%d %H:%M:%S%.f')
----
string
2026/01/02 03:04:05.678901
1969/12/31 23:59:59.999999
9999/12/31 23:59:59.999999
0001/01/01 00:00:00
NULL

value
to_unixtime(ts)
----
bigint
1767323045
0
253402300799
-62135596800
NULL

value
to_timestamp(n)
----
timestamp
1970-01-01T00:00:01Z
1969-12-31T23:59:59Z
error: cannot cast Timestamp(s) value 9223372036854775807 to timestamp: converted value exceeds the representable i64 range
1970-01-01T00:00:00Z
NULL

value
to_timestamp_seconds(n)
----
timestamp
1970-01-01T00:00:01Z
1969-12-31T23:59:59Z
error: cannot cast Timestamp(s) value 9223372036854775807 to Timestamp(us): converted value exceeds the representable i64 range
1970-01-01T00:00:00Z
NULL

value
to_timestamp_millis(n)
----
timestamp
1970-01-01T00:00:00.001Z
1969-12-31T23:59:59.999Z
error: cannot cast Timestamp(ms) value 9223372036854775807 to Timestamp(us): converted value exceeds the representable i64 range
1970-01-01T00:00:00Z
NULL

value
to_timestamp_micros(n)
----
timestamp
1970-01-01T00:00:00.000001Z
1969-12-31T23:59:59.999999Z
error: cannot cast timezone to different timezone
1970-01-01T00:00:00Z
NULL

value
to_timestamp_nanos(n)
----
timestamp
1970-01-01T00:00:00Z
1970-01-01T00:00:00Z
2262-04-11T23:47:16.854775Z
1970-01-01T00:00:00Z
NULL

value
from_unixtime(n)
----
timestamp
1970-01-01T00:00:01Z
1969-12-31T23:59:59Z
error: cannot cast Timestamp(s) value 9223372036854775807 to Timestamp(us): converted value exceeds the representable i64 range
1970-01-01T00:00:00Z
NULL

value
make_date(2026, 2, 30)
----
problem 1:1: make_date: unable to parse date from 2026, 2, 30

value
make_date(2026, 2, 28)
----
date
2026-02-28
2026-02-28
2026-02-28
2026-02-28
2026-02-28

value
CAST(ts AS DATE)
----
date
2026-01-02
1969-12-31
9999-12-31
0001-01-01
NULL

value
CAST(d AS TIMESTAMP)
----
timestamp
2026-01-31T00:00:00Z
1969-12-31T00:00:00Z
9999-12-31T00:00:00Z
0001-01-01T00:00:00Z
NULL

value
CAST(ts AS BIGINT)
----
problem 1:6: a time is no number before its unit is said: date_part('epoch', t) gives seconds

value
CAST(n AS TIMESTAMP)
----
problem 1:6: a number is no time before its unit is said: to_timestamp_millis(n), to_timestamp(seconds), …

value
CAST(CAST(n AS INT) AS DATE)
----
problem 1:11: a number is no time before its unit is said: to_timestamp_millis(n), to_timestamp(seconds), …

value
CAST(ts AS STRING)
----
string
2026-01-02T03:04:05.678901Z
1969-12-31T23:59:59.999999Z
9999-12-31T23:59:59.999999Z
0001-01-01T00:00:00Z
NULL

value
CAST(d AS STRING)
----
string
2026-01-31
1969-12-31
9999-12-31
0001-01-01
NULL

value
ts AT TIME ZONE 'Europe/Berlin'
----
timestamp
2026-01-02T03:04:05.678901Z
1969-12-31T23:59:59.999999Z
9999-12-31T23:59:59.999999Z
0001-01-01T00:00:00Z
NULL

value
date_part('hour', ts AT TIME ZONE 'Europe/Berlin')
----
int
4
0
0
0
NULL

value
to_local_time(ts AT TIME ZONE 'Europe/Berlin')
----
timestamp
2026-01-02T04:04:05.678901Z
1970-01-01T00:59:59.999999Z
+10000-01-01T00:59:59.999999Z
0001-01-01T00:53:28Z
NULL

value
CAST(ts AT TIME ZONE 'Europe/Berlin' AS STRING)
----
string
2026-01-02T04:04:05.678901+01:00
1970-01-01T00:59:59.999999+01:00
+10000-01-01T00:59:59.999999+01:00
0001-01-01T00:53:28+00:53
NULL

value
ts > now()
----
boolean
true
false
true
false
NULL

value
d = current_date
----
boolean
false
false
false
false
NULL

value
date_part('epoch', now() - ts)
----
double
-0.678895
1767323045.000007
-251634977755.0
63902919845.00001
NULL

value
ts > '2026-01-01T00:00:00Z'
----
boolean
true
false
true
false
NULL

value
ts BETWEEN '2026-01-01' AND '2026-12-31'
----
boolean
true
false
false
false
NULL

value
TIMESTAMP '2026-01-01 12:00:00'
----
timestamp
2026-01-01T12:00:00Z
2026-01-01T12:00:00Z
2026-01-01T12:00:00Z
2026-01-01T12:00:00Z
2026-01-01T12:00:00Z

value
to_timestamp('2026-01-02 03:04', '%Y-%m-%d %H:%M')
----
timestamp
2026-01-02T03:04:00Z
2026-01-02T03:04:00Z
2026-01-02T03:04:00Z
2026-01-02T03:04:00Z
2026-01-02T03:04:00Z

# Lists
table n int, s string
1 | a,b,c
0 | x
NULL | NULL

value
array_length(string_to_array(s, ','))
----
bigint
3
1
NULL

value
string_to_array(s, ',')[n]
----
string
a
NULL
NULL

value
array_append(string_to_array(s, ','), 'z')
----
list<string>
[a, b, c, z]
[x, z]
[z]

value
array_has(string_to_array(s, ','), 'a')
----
boolean
true
false
NULL

value
array_sort(string_to_array(s, ','))
----
list<string>
[a, b, c]
[x]
NULL

value
array_to_string(array_reverse(string_to_array(s, ',')), ',')
----
string
c,b,a
x
NULL

value
array_distinct(make_array(n, 1, 1))
----
list<bigint>
[1]
[0, 1]
[NULL, 1]

value
array_max(make_array(n, 5, 2))
----
bigint
5
5
5

value
range(n)
----
list<bigint>
[0]
[]
NULL

value
array_slice(string_to_array(s, ','), 1, 2)
----
list<string>
[a, b]
[x]
NULL

value
array_position(string_to_array(s, ','), 'b')
----
bigint
2
NULL
NULL

value
array_sum(make_array(n, 9223372036854775807))
----
double
9.223372036854776e18
9.223372036854776e18
9.223372036854776e18

value
array_product(make_array(9223372036854775807, n, 2))
----
double
1.8446744073709552e19
0.0
1.8446744073709552e19

value
array_transform(make_array(n, 2), x -> x + 1)
----
list<bigint>
[2, 3]
[1, 3]
[NULL, 3]

value
array_filter(string_to_array(s, ','), x -> x <> 'a')
----
list<string>
[b, c]
[x]
NULL

value
array_transform(make_array(n, 9223372036854775807), x -> x + 1)
----
list<bigint>
error: overflow: 9223372036854775807 + 1
error: overflow: 9223372036854775807 + 1
error: overflow: 9223372036854775807 + 1

value
array_any_match(string_to_array(s, ','), v -> v = s)
----
boolean
false
true
NULL

value
cardinality(make_array(n))
----
bigint
1
1
1

value
flatten(make_array(make_array(n)))
----
list<int>
[1]
[0]
[NULL]

value
array_repeat(s, n)
----
list<string>
[a,b,c]
[]
NULL

value
named_struct('a', n, 'b', make_array(s))
----
struct<a: int, b: list<string>>
{a: 1, b: [a,b,c]}
{a: 0, b: [x]}
{a: NULL, b: [NULL]}

value
named_struct('a', n)['a']
----
int
1
0
NULL

value
named_struct('a', n, 'a', s)
----
problem 1:1: the expression is struct<a: int, a: string>, which no column can be
  help: give every field of the struct a name of its own

value
isnan(sqrt(n))
----
boolean
false
false
NULL
