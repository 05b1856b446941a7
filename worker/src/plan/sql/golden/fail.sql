# `fail` refuses a row with the manifest's own words, and only rows that reach it.

table kind string, value double
Temp | 20.5
Temp | 999
Wind | 1
NULL | NULL

value
CASE WHEN kind = 'Temp' AND value < 100 THEN value ELSE fail(concat(kind, ' ', value)) END
----
double
20.5
error: Temp 999.0
error: Wind 1.0
error:

value
CASE WHEN kind = 'Temp' THEN 'ok' ELSE fail('unknown kind') END
----
string
ok
ok
error: unknown kind
error: unknown kind

value
coalesce(value, CAST(fail('there is no value') AS DOUBLE))
----
double
20.5
999.0
1.0
error: there is no value

filter
value > 10 OR fail('too small')
----
true
true
error: too small
error: too small

value
fail(kind)
----
problem 1:1: the expression is null, which no column can be
  help: say which type the null has, such as CAST(NULL AS STRING)

value
CASE WHEN kind = 'Temp' THEN 1 ELSE fail() END
----
problem 1:37: `fail` needs arguments

value
CASE WHEN kind = 'Temp' THEN 1 ELSE fail(value, 2) END
----
problem 1:37: `fail` does not take (double, bigint)
  help: CAST the arguments to types that it takes
