-- A few hundred thousand rows and an index in memory; idle, looked through, changed, and again.
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300000)
INSERT INTO t SELECT i, 'customer ' || (i * 7919 % 300000), i * 31 % 1000 FROM c;
CREATE INDEX by_name ON t(name);
.shell sleep ${PAUSE:-0}
SELECT count(*), sum(n), min(name), max(name) FROM t;
SELECT n, count(*) FROM t GROUP BY n ORDER BY n LIMIT 5;
UPDATE t SET n = n + 1 WHERE id % 7 = 0;
.shell sleep ${PAUSE:-0}
SELECT sum(n), sum(length(name)) FROM t;
SELECT id FROM t WHERE name = 'customer 4242';
.shell sleep ${PAUSE:-0}
PRAGMA integrity_check;
