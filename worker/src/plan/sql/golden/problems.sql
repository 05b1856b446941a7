# Mistakes, at their places.
table temp int, sensorId string, ts timestamp, on_off boolean, price decimal(10,2), d double
1 | x | 2026-01-01T00:00:00Z | true | 1.00 | 1.5

value
tmp + 1
----
problem 1:1: unknown column `tmp`
  help: did you mean `temp`?

value
sensorid
----
problem 1:1: unknown column `sensorid`
  help: did you mean `sensorId`?

value
SENSORID
----
problem 1:1: unknown column `SENSORID`
  help: did you mean `sensorId`?

value
temp + xyzzy + tmp
----
problem 1:8: unknown column `xyzzy`
  help: the columns are `temp`, `sensorId`, `ts`, `on_off`, `price`, `d`
problem 1:16: unknown column `tmp`
  help: did you mean `temp`?

value
now
----
problem 1:1: unknown column `now`
  help: a function is called with parentheses: `now()`

value
"text"
----
problem 1:1: unknown column `text`
  help: text is written in single quotes: 'text'

value
uper(sensorId)
----
problem 1:1: unknown function `uper`
  help: did you mean `upper`?

value
frobnicate(sensorId)
----
problem 1:1: unknown function `frobnicate`

value
upper(sensorid) || frobnicate(tmp)
----
problem 1:7: unknown column `sensorid`
  help: did you mean `sensorId`?
problem 1:20: unknown function `frobnicate`
problem 1:31: unknown column `tmp`
  help: did you mean `temp`?

value
foo.bar(temp)
----
problem 1:1: unknown function `foo.bar`
  help: functions have one name, without dots

filter
temp
----
problem 1:1: the filter is int, not boolean
  help: compare it with something, such as `… > 0` or `… IS NOT NULL`

filter
temp + 1
----
problem 1:1: the filter is bigint, not boolean
  help: compare it with something, such as `… > 0` or `… IS NOT NULL`

filter
sensorId
----
problem 1:1: the filter is string, not boolean
  help: compare it with something, such as `… > 0` or `… IS NOT NULL`

filter
NULL
----
problem 1:1: the filter is null, not boolean
  help: compare it with something, such as `… > 0` or `… IS NOT NULL`

filter
on_off AND temp
----
problem 1:1: `AND` does not work between boolean and int
  help: CAST one side to the type that is meant

filter
NOT temp
----
problem 1:5: unary operator 'NOT' requires a boolean expression, got int

filter
temp > 'abc'
----
problem 1:1: cannot cast string 'abc' to value of int type

filter
ts > 'yesterday'
----
problem 1:1: error parsing timestamp from 'yesterday': timestamp must contain at least 10 characters

filter
ts > '2026-01-01'
----
false

filter
ts > 1700000000
----
problem 1:1: `>` does not work between timestamp and bigint
  help: CAST one side to the type that is meant

filter
on_off > 3
----
problem 1:1: `>` does not work between boolean and bigint
  help: CAST one side to the type that is meant

value
temp + sensorId
----
problem 1:1: `+` does not work between int and string
  help: CAST one side to the type that is meant

value
temp + on_off
----
problem 1:1: `+` does not work between int and boolean
  help: CAST one side to the type that is meant

value
sensorId + 1
----
problem 1:1: `+` does not work between string and bigint
  help: CAST one side to the type that is meant

value
-sensorId
----
problem 1:2: unary operator '-' only supports signed numeric, interval and timestamp types

value
round(sensorId)
----
problem 1:1: `round` does not take (string)
  help: CAST the arguments to types that it takes

value
round(on_off)
----
problem 1:1: `round` does not take (boolean)
  help: CAST the arguments to types that it takes

value
upper(temp)
----
problem 1:1: `upper` does not take (int)
  help: CAST the arguments to types that it takes

value
upper()
----
problem 1:1: `upper` needs arguments

value
upper(sensorId, 1)
----
problem 1:1: `upper` does not take (string, bigint)
  help: CAST the arguments to types that it takes

value
substr(sensorId)
----
problem 1:8: substring without for/from is not valid

value
abs(ts)
----
problem 1:1: `abs` does not take (timestamp)
  help: CAST the arguments to types that it takes

value
CASE WHEN temp THEN 1 ELSE 2 END
----
bigint
1

value
CASE WHEN on_off THEN 1 ELSE ts END
----
problem 1:1: failed to coerce then (bigint) and else (timestamp) to common types in CASE WHEN expression

value
CASE WHEN on_off THEN 1 ELSE 'x' END
----
string
1

value
CAST(on_off AS TIMESTAMP)
----
problem 1:6: unsupported CAST from boolean to timestamp

value
CAST('abc' AS INT)
----
problem 1:6: cannot cast string 'abc' to value of int type

value
CAST(ts AS BOOLEAN)
----
problem 1:6: unsupported CAST from timestamp to boolean

value
date_trunc('fortnight', ts)
----
problem 1:1: unsupported date_trunc granularity: 'fortnight'. Supported values are: microsecond, millisecond, second, minute, hour, day, week, month, quarter, year

value
date_part('fortnight', ts)
----
problem 1:1: date_part: date part 'fortnight' not supported

value
ts - ts
----
problem 1:1: the expression is interval, which no column can be
  help: there is no type for a span of time: `date_part('epoch', …)` gives its seconds

value
ts + 1
----
problem 1:1: `+` does not work between timestamp and bigint
  help: CAST one side to the type that is meant

value
ts + INTERVAL '1 day'
----
timestamp
2026-01-02T00:00:00Z

value
INTERVAL '1 day'
----
problem 1:10: the expression is interval, which no column can be
  help: there is no type for a span of time: `date_part('epoch', …)` gives its seconds

value
NULL
----
problem 1:1: the expression is null, which no column can be
  help: say which type the null has, such as CAST(NULL AS STRING)

value
CAST(NULL AS STRING)
----
string
NULL

value
regexp_like(sensorId, '(')
----
problem 1:1: regexp_like: the regular expression is wrong: unclosed group

value
regexp_replace(sensorId, '(', 'x')
----
problem 1:1: regexp_replace: the regular expression is wrong: unclosed group

value
temp +
----
problem 1:7: expected an expression, found the end of the text

value
temp + * 2
----
problem 1:8: expected an expression, found *

value
(temp
----
problem 1:6: expected ), found the end of the text

value
temp)
----
problem 1:5: unexpected `)` after the expression
  help: one expression is expected, such as `value > 10 AND kind = 'temp'`

value
temp 5
----
problem 1:6: unexpected `5` after the expression
  help: one expression is expected, such as `value > 10 AND kind = 'temp'`

value
'unfinished
----
problem 1:1: unterminated string literal

value
temp > 5 ANDD on_off
----
problem 1:10: unexpected `ANDD` after the expression
  help: one expression is expected, such as `value > 10 AND kind = 'temp'`

value
temp = = 5
----
problem 1:8: expected an expression, found =

value
CASE WHEN on_off THEN 1
----
problem 1:6: a CASE without END
  help: write CASE WHEN condition THEN value ELSE value END

value
 
----
problem -: the text is empty
  help: an expression or a SELECT is expected

filter
temp == 5
----
false

filter
temp IN ('a', 'b')
----
problem 1:1: cannot cast string 'a' to value of int type

filter
temp IN (1, 2, NULL)
----
true

filter
temp BETWEEN 'a' AND 'b'
----
problem 1:1: cannot cast string 'a' to value of int type

filter
sensorId LIKE temp
----
problem 1:1: there isn't a common type to coerce string and int in LIKE expression

filter
sensorId LIKE 'a%' ESCAPE '!'
----
problem 1:1: LIKE does not support escape_char other than the backslash (\)

filter
sensorId ~ '('
----
problem 1:1: `~` does not work between string and string
  help: CAST one side to the type that is meant

filter
sensorId ~ 'x+'
----
true

value
temp / 0
----
bigint
error: division by zero

value
9999999999999999999999999999999999999999999999
----
problem 1:1: DECIMAL(46,0) is not 1 to 38 digits, of which 0 to all are decimal places

value
price / 0
----
decimal(14,6)
error: division by zero

value
sensorId[1]
----
problem 1:1: array_element does not support type string

value
sensorId.x
----
problem 1:1: `sensorId` is string, which has no fields

value
price.amount
----
problem 1:1: `price` is decimal(10,2), which has no fields

value
nothing.temp
----
problem 1:1: unknown node or column `nothing`
  help: columns are named alone, fields of a struct as `column.field`

value
temp::int
----
int
1

value
temp::nothing
----
problem 1:1: there is no type nothing; the types are STRING, BINARY, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE, TIMESTAMP, T[] and STRUCT<name T, …>

value
"now()"
----
problem 1:1: unknown column `now()`
  help: text is written in single quotes: 'now()'

value
encode(sensorId, 'base65')
----
problem 1:1: encode: there is no built-in encoding named 'base65', currently supported encodings are: base64, base64pad, hex

value
to_timestamp(sensorId, 5)
----
problem 1:1: to_timestamp function unsupported data type at index 1: bigint

value
left(sensorId, 'x')
----
problem 1:1: `left` does not take (string, string)
  help: CAST the arguments to types that it takes

query
SELECT tmp, uper(sensorId) AS u, temp + 1 FROM t WHERE temp AND tz > 1
----
problem 1:65: unknown column `tz`
  help: did you mean `ts`?
problem 1:8: unknown column `tmp`
  help: did you mean `temp`?
problem 1:13: unknown function `uper`
  help: did you mean `upper`?
problem 1:34: the expression `temp + 1` has no name
  help: give it one: `… AS name`

query
SELECT temp, temp FROM t
----
problem 1:14: two columns are named `temp`
  help: name one of them differently, or leave one out: `* EXCLUDE (temp)`

query
SELECT *, upper(sensorId) AS sensorId FROM t
----
problem 1:30: two columns are named `sensorId`
  help: name one of them differently, or leave one out: `* EXCLUDE (sensorId)`

query
SELECT * EXCLUDE (tmp) FROM t
----
problem 1:19: unknown column `tmp`
  help: did you mean `temp`?

query
SELECT u.* FROM t
----
problem 1:8: unknown node `u`
  help: the node is `t`

query
SELECT u.temp FROM t
----
problem 1:8: unknown node or column `u`
  help: the node is `t`

query
SELECT t.tmp FROM t
----
problem 1:10: unknown column `tmp`
  help: did you mean `temp`?

query
SELECT _topic FROM t
----
problem 1:8: `_topic` is the name of a metadata column
  help: give it another one: `_topic AS topic`

query
SELECT temp AS _key FROM t
----
problem 1:16: `_key` is the name of a metadata column
  help: give it another one: `_key AS key`

query
SELECT temp + 1 FROM t
----
problem 1:8: the expression `temp + 1` has no name
  help: give it one: `… AS name`

query
SELECT * RENAME (temp AS x) FROM t
----
problem 1:10: unexpected `RENAME` after the SELECT

query
SELECT * REPLACE (1 AS temp) FROM t
----
problem 1:10: unexpected `REPLACE` after the SELECT

query
SELECT temp
FROM t
WHERE tmp > 1
  AND uper(sensorId) = 'X'
----
problem 3:7: unknown column `tmp`
  help: did you mean `temp`?
problem 4:7: unknown function `uper`
  help: did you mean `upper`?

query
SELECT temp FROM t WHERE
----
problem 1:25: expected an expression, found the end of the text

query
SELECT temp WHERE temp > 1
----
problem 1:1: FROM is missing
  help: name the node to read: `FROM node`

query
SELECT temp FORM t
----
problem 1:18: unexpected `t` after the SELECT
  help: FROM is missing: `SELECT … FROM node`

query
SELECT temp, FROM t
----
problem 1:19: expected an expression, found FROM

query
SELECT temp AS FROM t
----
problem 1:21: unexpected `t` after the SELECT

query
SELECT CAST(NULL AS STRING) AS a, NULL AS b FROM t
----
problem 1:35: the expression is null, which no column can be
  help: say which type the null has, such as CAST(NULL AS STRING)

query
SELECT * EXCLUDE (temp, sensorId, ts, on_off, price, d) FROM t
----
problem 1:1: no column is left
  help: exclude fewer of them

query
SELECT temp FROM my-node
----
problem 1:20: unexpected `-` after the SELECT

query
SELECT temp FROM ns.t
----
problem 1:1: FROM does not name a node
  help: a node has one name, of letters, digits and `_`
