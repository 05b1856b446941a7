# What a stream cannot run is refused by name.
table a int, s string, b boolean
1 | x | true

query
SELECT s, count(*) AS n FROM t GROUP BY s HAVING count(*) > 1
----
problem 1:41: GROUP BY cannot run in a stream
  help: every row is computed from one record; aggregate behind the sink
problem 1:50: HAVING cannot run in a stream
  help: keep rows by WHERE
problem 1:11: an aggregate function (count) cannot run in a stream
  help: of a list's elements: `array_length(list)`

query
SELECT sum(a) AS total FROM t
----
problem 1:8: an aggregate function (sum) cannot run in a stream
  help: of columns of a row: `a + b`

query
SELECT max(a) AS m FROM t
----
problem 1:8: an aggregate function (max) cannot run in a stream
  help: of several columns of a row: `greatest(a, b)`; of a list: `array_max(list)`

query
SELECT a, row_number() OVER (ORDER BY a) AS n FROM t
----
problem 1:11: a window function (row_number … OVER) cannot run in a stream
  help: every row is computed from one record

query
SELECT a, lag(a) OVER (PARTITION BY s ORDER BY a) AS n FROM t
----
problem 1:11: a window function (lag … OVER) cannot run in a stream
  help: every row is computed from one record

query
SELECT t.a FROM t JOIN u ON t.a = u.a
----
problem 1:24: JOIN cannot run in a stream
  help: a SELECT reads one node; several nodes are united by `from` of a transform

query
SELECT t.a FROM t LEFT JOIN u USING (a)
----
problem 1:29: JOIN cannot run in a stream
  help: a SELECT reads one node; several nodes are united by `from` of a transform

query
SELECT a FROM t, u
----
problem 1:18: a second node in FROM cannot run in a stream
  help: a SELECT reads one node; several nodes are united by `from` of a transform

query
SELECT a FROM t WHERE a > (SELECT 1)
----
problem 1:28: a subquery cannot run in a stream
  help: every row is computed from one record; a literal list works: `x IN (1, 2, 3)`

query
SELECT a FROM t WHERE a IN (SELECT a FROM u)
----
problem 1:23: IN (SELECT …) cannot run in a stream
  help: every row is computed from one record; a literal list works: `x IN (1, 2, 3)`

query
SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u)
----
problem 1:31: EXISTS cannot run in a stream
  help: every row is computed from one record; a literal list works: `x IN (1, 2, 3)`

query
SELECT a FROM t UNION ALL SELECT a FROM u
----
problem 1:1: UNION cannot run in a stream
  help: write a transform for each SELECT, and name them all in `from` of the next node

query
SELECT a FROM t INTERSECT SELECT a FROM u
----
problem 1:1: INTERSECT cannot run in a stream
  help: write a transform for each SELECT, and name them all in `from` of the next node

query
SELECT a FROM t EXCEPT SELECT a FROM u
----
problem 1:1: EXCEPT cannot run in a stream
  help: write a transform for each SELECT, and name them all in `from` of the next node

query
WITH x AS (SELECT a FROM t) SELECT a FROM x
----
problem 1:1: WITH cannot run in a stream
  help: write a transform of its own for it, and name that in FROM

query
SELECT a FROM t ORDER BY a
----
problem 1:26: ORDER BY cannot run in a stream
  help: a stream has no end at which it could be sorted; leave it out

query
SELECT a FROM t LIMIT 10
----
problem 1:23: LIMIT cannot run in a stream
  help: a stream has no end to count from; keep rows by WHERE

query
SELECT a FROM t LIMIT 10 OFFSET 3
----
problem 1:23: LIMIT cannot run in a stream
  help: a stream has no end to count from; keep rows by WHERE
problem 1:33: OFFSET cannot run in a stream
  help: a stream has no end to count from; keep rows by WHERE

query
SELECT a FROM t OFFSET 3
----
problem 1:24: OFFSET cannot run in a stream
  help: a stream has no end to count from; keep rows by WHERE

query
SELECT a FROM t FETCH FIRST 3 ROWS ONLY
----
problem 1:1: FETCH cannot run in a stream
  help: a stream has no end to count from; keep rows by WHERE

query
SELECT DISTINCT a FROM t
----
problem 1:1: DISTINCT cannot run in a stream
  help: a stream would have to remember every row; leave it out

query
SELECT DISTINCT ON (a) a FROM t
----
problem 1:1: DISTINCT cannot run in a stream
  help: a stream would have to remember every row; leave it out

query
VALUES (1), (2)
----
problem 1:8: VALUES cannot run in a stream
  help: records come from the sources

query
INSERT INTO u SELECT a FROM t
----
problem 1:1: INSERT cannot run in a stream
  help: a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks

query
CREATE TABLE u AS SELECT a FROM t
----
problem 1:1: CREATE cannot run in a stream
  help: a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks

query
UPDATE t SET a = 1
----
problem 1:1: UPDATE cannot run in a stream
  help: a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks

query
DELETE FROM t
----
problem 1:1: DELETE cannot run in a stream
  help: a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks

query
EXPLAIN SELECT a FROM t
----
problem 1:1: EXPLAIN cannot run in a stream
  help: a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks

query
SELECT a FROM t; SELECT s FROM t
----
problem 1:18: several statements
  help: a transform is one SELECT; write a transform for each

query
SELECT a FROM t;
----
a int
1

query
SELECT x FROM t, LATERAL (SELECT 1) u
----
problem 1:27: LATERAL cannot run in a stream
  help: write a transform of its own for it

query
SELECT x FROM UNNEST(make_array(1, 2)) AS x
----
problem 1:22: UNNEST in FROM cannot run in a stream
  help: write a transform with `unnest`

query
SELECT a FROM generate_series(1, 2)
----
problem 1:15: a table function cannot run in a stream
  help: name a node: `FROM node`

query
SELECT a INTO u FROM t
----
problem 1:1: SELECT … INTO cannot run in a stream
  help: where the rows go is said by the sinks

query
SELECT a FROM t QUALIFY row_number() OVER () = 1
----
problem 1:25: QUALIFY cannot run in a stream
  help: keep rows by WHERE

query
SELECT a FROM t TABLESAMPLE (10 PERCENT)
----
problem 1:15: TABLESAMPLE cannot run in a stream
  help: a sample would differ when records are replayed

query
SELECT a + $1 AS x FROM t
----
problem 1:12: a placeholder cannot run in a stream
  help: write the value itself

query
SELECT a FROM (SELECT a FROM t)
----
problem 1:16: a subquery in FROM cannot run in a stream
  help: write a transform of its own for it, and name that

query
SELECT a FROM t FOR UPDATE
----
problem 1:1: FOR UPDATE cannot run in a stream
  help: leave it out: records cannot be locked

query
SELECT unnest(make_array(a)) AS x FROM t
----
problem 1:8: unnest in an expression cannot run in a stream
  help: write a transform with `unnest`

query
SELECT s, tumble(a) AS x FROM t GROUP BY s
----
problem 1:42: GROUP BY cannot run in a stream
  help: every row is computed from one record; aggregate behind the sink
problem 1:11: a time window (tumble) cannot run in a stream
  help: every row is computed from one record; aggregate behind the sink

query
SELECT TOP 3 a FROM t
----
problem 1:1: TOP cannot run in a stream
  help: a stream has no end to count from; keep rows by WHERE

query
SELECT 1 AS x
----
problem 1:1: FROM is missing
  help: name the node to read: `FROM node`

query
FROM t
----
problem 1:1: FROM cannot run in a stream
  help: a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks

query
SELECT FROM t
----
problem 1:13: expected an expression, found FROM

query
(SELECT a FROM t)
----
problem 1:2: a SELECT in parentheses cannot run in a stream
  help: leave out the parentheses

query
TABLE t
----
problem -: TABLE cannot run in a stream
  help: write SELECT * FROM …

query
SELECT a FROM t WINDOW w AS (ORDER BY a)
----
problem 1:1: WINDOW cannot run in a stream
  help: every row is computed from one record; aggregate behind the sink

query
SELECT a FROM t |> WHERE a > 1
----
problem 1:17: unexpected `|` after the SELECT

query
SELECT a FROM t GROUP BY ALL
----
problem -: GROUP BY cannot run in a stream
  help: every row is computed from one record; aggregate behind the sink

query
SELECT a FROM t PIVOT (sum(a) FOR s IN ('x'))
----
problem 1:15: PIVOT cannot run in a stream
  help: every row is computed from one record; aggregate behind the sink

value
random()
----
problem 1:1: `random` cannot run in a stream
  help: it gives another value when records are replayed after a fault; derive the value from the record, such as `sha256(concat(_topic, _partition, _offset))`

value
uuid()
----
problem 1:1: `uuid` cannot run in a stream
  help: it gives another value when records are replayed after a fault; derive the value from the record, such as `sha256(concat(_topic, _partition, _offset))`

value
gen_random_uuid()
----
problem 1:1: `gen_random_uuid` cannot run in a stream
  help: it gives another value when records are replayed after a fault; derive the value from the record, such as `sha256(concat(_topic, _partition, _offset))`

value
a + random() + uuid()
----
problem 1:5: `random` cannot run in a stream
  help: it gives another value when records are replayed after a fault; derive the value from the record, such as `sha256(concat(_topic, _partition, _offset))`
problem 1:16: `uuid` cannot run in a stream
  help: it gives another value when records are replayed after a fault; derive the value from the record, such as `sha256(concat(_topic, _partition, _offset))`

value
arrow_cast(a, 'Int8')
----
problem 1:1: `arrow_cast` cannot run in a stream
  help: types are written in SQL: CAST(value AS type)

value
current_time
----
problem 1:1: `current_time` cannot run in a stream
  help: there is no type for a time of day; use a timestamp, or text by `to_char`

value
map(s, a)
----
problem 1:1: `map` cannot run in a stream
  help: there is no map type; use a struct, or a list of structs

value
(SELECT 1)
----
problem 1:2: a subquery cannot run in a stream
  help: every row is computed from one record; a literal list works: `x IN (1, 2, 3)`

value
a, s
----
problem 1:2: unexpected `,` after the expression
  help: one expression is expected, such as `value > 10 AND kind = 'temp'`

value
SELECT a
----
problem 1:1: a SELECT where an expression is expected
  help: write the expression alone, or a transform with `sql`

value
a AS x
----
problem 1:3: unexpected `AS` after the expression
  help: one expression is expected, such as `value > 10 AND kind = 'temp'`

value
count(*)
----
problem 1:1: an aggregate function (count) cannot run in a stream
  help: of a list's elements: `array_length(list)`

value
sum(a) FILTER (WHERE b)
----
problem 1:1: an aggregate function (sum) cannot run in a stream
  help: of columns of a row: `a + b`

value
(a, s)
----
problem 1:2: a tuple cannot run in a stream
  help: write `struct(a, b)`

value
a COLLATE "de"
----
problem 1:1: COLLATE cannot run in a stream
  help: texts compare by their bytes; try `lower(text)`

value
$1
----
problem 1:1: a placeholder cannot run in a stream
  help: write the value itself

value
@x
----
problem 1:1: a placeholder cannot run in a stream
  help: write the value itself

value
a = ANY (SELECT 1)
----
problem 1:10: a subquery cannot run in a stream
  help: every row is computed from one record; a literal list works: `x IN (1, 2, 3)`

value
a << 1
----
problem 1:1: `<<` is refused
  help: it would drop bits silently; multiply or divide by a power of two

value
a ^ 2
----
problem 1:1: `^` is refused
  help: for a power, write `power(a, b)`

value
a & 3
----
bigint
1

value
CAST(a AS SMALLINT)
----
problem 1:6: there is no type SMALLINT; use INT

value
CAST(s AS VARCHAR(10))
----
problem 1:6: there is no type VARCHAR(10); use STRING, and `left(text, n)` to cut

value
CAST(s AS JSON)
----
problem 1:6: there is no type JSON; use STRING

value
CAST(s AS TIMESTAMP WITHOUT TIME ZONE)
----
problem 1:6: there is no type TIMESTAMP WITHOUT TIME ZONE; use TIMESTAMP, which is UTC with microseconds

value
CAST(s AS DECIMAL)
----
problem 1:6: DECIMAL needs its digits, such as DECIMAL(10,2)

value
CAST(s AS DECIMAL(50,2))
----
problem 1:6: DECIMAL(50,2) is not 1 to 38 digits, of which 0 to all are decimal places

value
CAST(s AS UUID)
----
problem 1:6: there is no type UUID; the types are STRING, BINARY, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE, TIMESTAMP, T[] and STRUCT<name T, …>

value
CONVERT(a, CHAR)
----
problem 1:9: CONVERT cannot run in a stream
  help: write CAST(value AS type)
