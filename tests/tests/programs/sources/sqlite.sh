# Two processes of sqlite3 on one database with a write-ahead log.
set -eu
sqlite3 data.db 'pragma journal_mode=wal; create table numbers (n integer);'
fill() {
    sqlite3 -cmd '.timeout 30000' data.db "
        with recursive up(n) as (select $1 union all select n + 1 from up where n < $2)
        insert into numbers select n from up;"
}
fill 1 1000 & one=$!
fill 1001 2000 & two=$!
wait $one
wait $two
sqlite3 data.db 'select count(*), sum(n) from numbers; pragma integrity_check;'
sqlite3 data.db 'pragma wal_checkpoint(truncate); vacuum;'
echo "files: $(echo data.db*)"
