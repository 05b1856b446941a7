# Queries that run.
table temp int, sensorId string, ts timestamp, raw json
21 | a | 2026-01-01T00:00:00Z | {"x":1}
NULL | b | 2026-01-01T12:34:56.789Z | NULL
35 | NULL | NULL | []

query
SELECT * FROM t
----
temp int, sensorId string, ts timestamp, raw string
21 | a | 2026-01-01T00:00:00Z | {"x":1}
NULL | b | 2026-01-01T12:34:56.789Z | NULL
35 | NULL | NULL | []

query
SELECT t.* FROM t WHERE temp > 20
----
temp int, sensorId string, ts timestamp, raw string
21 | a | 2026-01-01T00:00:00Z | {"x":1}
35 | NULL | NULL | []

query
SELECT x.temp, x.sensorId AS id FROM t AS x WHERE x.temp IS NOT NULL
----
temp int, id string
21 | a
35 | NULL

query
SELECT * EXCLUDE (ts, raw), temp * 2 AS double FROM t
----
temp int, sensorId string, double bigint
21 | a | 42
NULL | b | NULL
35 | NULL | 70

query
SELECT * EXCEPT (ts, raw) FROM t
----
temp int, sensorId string
21 | a
NULL | b
35 | NULL

query
select Temp as T from t
----
problem 1:8: unknown column `Temp`
  help: did you mean `temp`?

query
SELECT temp AS "Temp °C", upper(sensorId) AS `Id` FROM t
----
Temp °C int, Id string
21 | A
NULL | B
35 | NULL

query
SELECT _topic AS topic, _partition AS partition, _offset AS "offset", _timestamp AS at, _key AS k FROM t
----
topic string, partition int, offset bigint, at timestamp, k binary
readings | 3 | 100 | 2023-11-14T22:13:20Z | x'6b6579'
readings | 3 | 101 | 2023-11-14T22:13:20Z | x'6b6579'
readings | 3 | 102 | 2023-11-14T22:13:20Z | x'6b6579'

query
SELECT now() AS n, current_timestamp AS c, current_date AS d, today() AS t, NOW() AS m FROM t WHERE temp = 21
----
n timestamp, c timestamp, d date, t date, m timestamp
2026-01-02T03:04:05.000006Z | 2026-01-02T03:04:05.000006Z | 2026-01-02 | 2026-01-02 | 2026-01-02T03:04:05.000006Z

query
SELECT raw, raw AS copy, coalesce(raw, '{}') AS text, upper(raw) AS upper FROM t
----
raw string, copy string, text string, upper string
{"x":1} | {"x":1} | {"x":1} | {"X":1}
NULL | NULL | {} | NULL
[] | [] | [] | []

query
SELECT 1 AS one, 'x' AS text, 1.50 AS exact, 1e3 AS double, true AS yes FROM t WHERE temp = 21
----
one bigint, text string, exact decimal(3,2), double double, yes boolean
1 | x | 1.50 | 1000.0 | true

query
SELECT CASE WHEN temp > 30 THEN 'hot' WHEN temp > 0 THEN 'mild' END AS class FROM t
----
class string
mild
NULL
hot

query
SELECT CASE sensorId WHEN 'a' THEN 1 WHEN 'b' THEN 2 ELSE 0 END AS class FROM t
----
class bigint
1
2
0

query
SELECT coalesce(temp, 0) AS t, nullif(temp, 21) AS n, ifnull(temp, -1) AS i, nvl(sensorId, '?') AS v, nvl2(temp, 'y', 'n') AS w FROM t
----
t bigint, n bigint, i bigint, v string, w string
21 | NULL | 21 | a | y
0 | NULL | -1 | b | n
35 | 35 | 35 | ? | y

query
SELECT temp FROM t WHERE sensorId IN ('a', 'c') OR temp BETWEEN 30 AND 40
----
temp int
21
35

query
SELECT temp -- a comment
FROM t /* another */ WHERE temp IS NOT NULL
----
temp int
21
35

query
SELECT named_struct('t', temp, 'id', sensorId) AS both FROM t
----
both struct<t: int, id: string>
{t: 21, id: a}
{t: NULL, id: b}
{t: 35, id: NULL}

query
SELECT make_array(temp, 1, NULL) AS list, [temp, 2] AS other FROM t
----
list list<bigint>, other list<bigint>
[21, 1, NULL] | [21, 2]
[NULL, 1, NULL] | [NULL, 2]
[35, 1, NULL] | [35, 2]

query
SELECT struct(temp, sensorId)['c0'] AS first FROM t
----
first int
21
NULL
35
