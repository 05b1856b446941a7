# Integers do not wrap.
table a int, b bigint
1 | 2
NULL | 7
2147483647 | 9223372036854775807
-2147483648 | -9223372036854775808

value
a + 1
----
bigint
2
NULL
2147483648
-2147483647

value
b + 1
----
bigint
3
8
error: overflow: 9223372036854775807 + 1
-9223372036854775807

value
b - 1
----
bigint
1
6
9223372036854775806
error: overflow: -9223372036854775808 - 1

value
b * 2
----
bigint
4
14
error: overflow: 9223372036854775807 * 2
error: overflow: -9223372036854775808 * 2

value
-b
----
bigint
-2
-7
-9223372036854775807
error: overflow: - -9223372036854775808

value
-a
----
int
-1
NULL
-2147483647
error: overflow: - -2147483648

value
- (a)
----
int
-1
NULL
-2147483647
error: overflow: - -2147483648

value
abs(a)
----
int
1
NULL
2147483647
error: overflow: abs(-2147483648)

value
abs(b)
----
bigint
2
7
9223372036854775807
error: overflow: abs(-9223372036854775808)

value
b / 0
----
bigint
error: division by zero
error: division by zero
error: division by zero
error: division by zero

value
b % 0
----
bigint
error: division by zero
error: division by zero
error: division by zero
error: division by zero

value
b / -1
----
bigint
-2
-7
-9223372036854775807
error: overflow: -9223372036854775808 / -1

value
b % -1
----
bigint
0
0
0
0

value
a + a
----
int
2
NULL
error: overflow: 2147483647 + 2147483647
error: overflow: -2147483648 + -2147483648

value
9223372036854775807 + 1
----
problem 1:1: overflow: 9223372036854775807 + 1

value
-9223372036854775808
----
bigint
-9223372036854775808
-9223372036854775808
-9223372036854775808
-9223372036854775808

value
9223372036854775808
----
decimal(19,0)
9223372036854775808
9223372036854775808
9223372036854775808
9223372036854775808

value
1 / 0
----
problem 1:1: division by zero

value
power(b, 2)
----
double
4.0
49.0
8.507059173023462e37
8.507059173023462e37

value
power(2, b)
----
double
4.0
128.0
inf
0.0

value
a << 40
----
problem 1:1: `<<` is refused
  help: it would drop bits silently; multiply or divide by a power of two

value
b << 1
----
problem 1:1: `<<` is refused
  help: it would drop bits silently; multiply or divide by a power of two

value
b >> 70
----
problem 1:1: `>>` is refused
  help: it would drop bits silently; multiply or divide by a power of two

value
factorial(b)
----
bigint
2
5040
error: overflow: FACTORIAL(9223372036854775807)
error: factorial of a negative number is undefined

value
gcd(a, b)
----
bigint
1
NULL
1
2147483648

value
lcm(a, b)
----
bigint
2
NULL
error: signed integer overflow in LCM(2147483647, 9223372036854775807)
error: signed integer overflow in LCM(-2147483648, -9223372036854775808)

value
round(b)
----
bigint
2
7
9223372036854775807
-9223372036854775808

value
round(b, -2)
----
bigint
0
0
9223372036854775800
-9223372036854775800

value
trunc(b, -2)
----
double
0.0
0.0
9.223372036854776e18
-9.223372036854776e18

value
signum(b)
----
double
1.0
1.0
1.0
-1.0

value
CAST(b AS INT)
----
int
2
7
error: can't cast value 9223372036854775807 to type int
error: can't cast value -9223372036854775808 to type int

value
TRY_CAST(b AS INT)
----
int
2
7
NULL
NULL

value
b + 1.5
----
decimal(22,1)
3.5
8.5
9223372036854775808.5
-9223372036854775806.5

value
b * 1e300
----
double
2e300
7e300
inf
-inf

value
sqrt(b)
----
double
1.4142135623730951
2.6457513110645907
3037000499.97605
error: cannot take square root of a negative number

value
~ b
----
problem 1:3: unsupported SQL unary operator BitwiseNot

value
b # 1
----
problem 1:3: no infix parser for token Sharp

value
b ^ 2
----
problem 1:1: `^` is refused
  help: for a power, write `power(a, b)`

value
ceil(b)
----
double
2.0
7.0
9.223372036854776e18
-9.223372036854776e18

value
greatest(a, b)
----
bigint
2
7
9223372036854775807
-2147483648

# Doubles
table d double, f float
1.5 | 1.5
0 | 0
NaN | NaN
1e300 | 1e30
-2.5 | -2.5
Infinity | Infinity

value
d / 0
----
double
error: division by zero
error: division by zero
error: division by zero
error: division by zero
error: division by zero
error: division by zero

value
1 / d
----
double
0.6666666666666666
error: division by zero
NaN
1e-300
-0.4
0.0

value
d % 0.0
----
double
error: division by zero
error: division by zero
error: division by zero
error: division by zero
error: division by zero
error: division by zero

value
f / 0
----
float
error: division by zero
error: division by zero
error: division by zero
error: division by zero
error: division by zero
error: division by zero

value
d * 1e300
----
double
1.5e300
0.0
NaN
inf
-2.5e300
inf

value
CAST(d AS INT)
----
int
1
0
error: can't cast value NaN to type int
error: can't cast value 1e300 to type int
-2
error: can't cast value inf to type int

value
CAST(d AS BIGINT)
----
bigint
1
0
error: can't cast value NaN to type bigint
error: can't cast value 1e300 to type bigint
-2
error: can't cast value inf to type bigint

value
TRY_CAST(d AS BIGINT)
----
bigint
1
0
NULL
NULL
-2
NULL

value
CAST(f AS INT)
----
int
1
0
error: can't cast value NaN to type int
error: can't cast value 1e30 to type int
-2
error: can't cast value inf to type int

value
CAST(d AS DECIMAL(10,2))
----
decimal(10,2)
1.50
0.00
error: cannot cast to decimal(10, 2). Overflowing on NaN
error: cannot cast to decimal(10, 2). Overflowing on 1e300
-2.50
error: cannot cast to decimal(10, 2). Overflowing on inf

value
round(d)
----
double
2.0
0.0
NaN
1e300
-3.0
inf

value
round(d, 1)
----
double
1.5
0.0
NaN
1e300
-2.5
inf

value
floor(d)
----
double
1.0
0.0
NaN
1e300
-3.0
inf

value
d > 1
----
boolean
true
false
true
true
false
true

value
d * 1.1
----
double
1.6500000000000001
0.0
NaN
1.1000000000000002e300
-2.75
inf

value
f + 1
----
float
2.5
1.0
NaN
1e30
-1.5
inf

value
f * 2.5
----
float
3.75
0.0
NaN
2.5e30
-6.25
inf

value
CAST(d AS FLOAT)
----
float
1.5
0.0
NaN
error: 1e300 is too large for the type float
-2.5
inf

value
CAST(d AS STRING)
----
string
1.5
0.0
NaN
1e300
-2.5
inf

value
nanvl(d, 0)
----
double
1.5
0.0
0.0
1e300
-2.5
inf

value
isnan(d)
----
boolean
false
false
true
false
false
false

value
ln(d)
----
double
0.4054651081081644
-inf
NaN
690.7755278982137
NaN
inf

# Decimals
table p decimal(10,2), q decimal(38,0), r decimal(38,10)
1.25 | 1 | 1.5
99999999.99 | 99999999999999999999999999999999999999 | 9999999999999999999999999999.9999999999
NULL | NULL | NULL

value
p + p
----
decimal(11,2)
2.50
199999999.98
NULL

value
p * p
----
decimal(21,4)
1.5625
9999999998000000.0001
NULL

value
p * 1.19
----
decimal(14,4)
1.4875
118999999.9881
NULL

value
q + 1
----
decimal(38,0)
2
error: 100000000000000000000000000000000000000 is too large to store in a decimal of precision 38. Max is 99999999999999999999999999999999999999
NULL

value
q + q
----
decimal(38,0)
2
error: overflow: 99999999999999999999999999999999999999 + 99999999999999999999999999999999999999
NULL

value
q - 1
----
decimal(38,0)
0
99999999999999999999999999999999999998
NULL

value
q * 2
----
decimal(38,0)
2
error: overflow: 99999999999999999999999999999999999999 * 2
NULL

value
-q
----
decimal(38,0)
-1
-99999999999999999999999999999999999999
NULL

value
q * q
----
decimal(38,0)
1
error: overflow: 99999999999999999999999999999999999999 * 99999999999999999999999999999999999999
NULL

value
r + 1
----
decimal(38,10)
2.5000000000
error: 10000000000000000000000000000.9999999999 is too large to store in a decimal of precision 38. Max is 9999999999999999999999999999.9999999999
NULL

value
r * 2
----
decimal(38,10)
3.0000000000
error: overflow: 99999999999999999999999999999999999999 * 2
NULL

value
p / 3
----
decimal(14,6)
0.416666
33333333.330000
NULL

value
p / 0
----
decimal(14,6)
error: division by zero
error: division by zero
NULL

value
p % 0
----
decimal(10,2)
error: division by zero
error: division by zero
NULL

value
p % 1
----
decimal(10,2)
0.25
0.99
NULL

value
CAST(p AS INT)
----
int
1
99999999
NULL

value
CAST(q AS BIGINT)
----
bigint
1
error: value of 99999999999999999999999999999999999999 is out of range bigint
NULL

value
CAST(p AS DECIMAL(5,1))
----
decimal(5,1)
1.3
error: 100000000.0 is too large to store in a decimal of precision 5. Max is 9999.9
NULL

value
TRY_CAST(p AS DECIMAL(5,1))
----
decimal(5,1)
1.3
NULL
NULL

value
CAST(p AS DOUBLE)
----
double
1.25
99999999.99
NULL

value
round(p, 1)
----
decimal(10,1)
1.3
100000000.0
NULL

value
abs(q)
----
decimal(38,0)
1
99999999999999999999999999999999999999
NULL

value
power(p, 2)
----
double
1.5625
9999999997999998.0
NULL

value
ceil(p)
----
decimal(10,2)
2.00
error: decimal overflow while applying ceil
NULL

value
p > 1.2
----
boolean
true
true
NULL

value
CAST('1.005' AS DECIMAL(10,2))
----
decimal(10,2)
1.01
1.01
1.01

value
0.1 + 0.2
----
decimal(2,1)
0.3
0.3
0.3

value
CAST(0.1 AS DOUBLE)
----
double
0.1
0.1
0.1
