//! One sync for all who write at the same time: thousands of torrents that start together would wait for the disk
//! one after the other.

use std::sync::mpsc;

use parking_lot::Mutex;
use rusqlite::{Connection, Error, Savepoint, Transaction};

/// What somebody wants written, all of it or nothing.
type Work = Box<dyn FnOnce(&Savepoint<'_>) -> Result<(), Error> + Send>;

struct Job {
    work: Work,
    outcome: mpsc::SyncSender<Result<(), Error>>,
}

/// A database whose writers share their transactions.
pub(super) struct Group {
    db: Mutex<Connection>,
    /// Those who wait for the database; one each, so their number is that of the threads.
    waiting: Mutex<Vec<Job>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Group {
    pub(super) const fn new(db: Connection) -> Self {
        Self { db: Mutex::new(db), waiting: Mutex::new(Vec::new()) }
    }

    /// Asks without writing.
    pub(super) fn read<T>(&self, ask: impl FnOnce(&Connection) -> T) -> T {
        ask(&self.db.lock())
    }

    /// Writes; it is synced when this returns.
    #[expect(clippy::unwrap_in_result, reason = "a job without an answer is a broken invariant")]
    pub(super) fn write(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (outcome, told) = mpsc::sync_channel(1);
        self.waiting.lock().push(Job { work: Box::new(work), outcome });
        // Whoever gets the database first writes for all who have come by then; for them nothing is left.
        let mut db = self.db.lock();
        let jobs = std::mem::take(&mut *self.waiting.lock());
        if !jobs.is_empty() {
            commit(&mut db, jobs);
        }
        drop(db);
        told.recv().expect("whoever takes a job off the queue answers it")
    }
}

fn commit(db: &mut Connection, jobs: Vec<Job>) {
    let (works, waiting): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|Job { work, outcome }| (work, outcome)).unzip();
    let outcomes = match write_all(db, works) {
        Ok(outcomes) => outcomes,
        Err(error) => waiting.iter().map(|_| Err(same(&error))).collect(),
    };
    for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
        // Who asked waits for nothing else.
        let _ = waiting.send(outcome);
    }
}

/// What came of each.
///
/// # Errors
/// Nothing came of any.
fn write_all(db: &mut Connection, works: Vec<Work>) -> Result<Vec<Result<(), Error>>, Error> {
    let mut transaction = db.transaction()?;
    let mut outcomes = Vec::with_capacity(works.len());
    for work in works {
        match write_one(&mut transaction, work) {
            // A full disk, say, has undone all that came before, too.
            Err(error) if transaction.is_autocommit() => return Err(error),
            outcome => outcomes.push(outcome),
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

fn write_one(transaction: &mut Transaction<'_>, work: Work) -> Result<(), Error> {
    let savepoint = transaction.savepoint()?;
    work(&savepoint)?;
    savepoint.commit()
}

/// The same error for somebody else.
fn same(error: &Error) -> Error {
    let unknown = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
    let code = error.sqlite_error().copied().unwrap_or(unknown);
    Error::SqliteFailure(code, Some(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE numbers (n INTEGER PRIMARY KEY NOT NULL)").unwrap();
        Group::new(db)
    }

    fn insert(n: i64) -> impl FnOnce(&Savepoint<'_>) -> Result<(), Error> + Send + 'static {
        move |db| db.execute("INSERT INTO numbers VALUES (?1)", [n]).map(|_| ())
    }

    fn numbers(group: &Group) -> Vec<i64> {
        group.read(|db| {
            let mut statement = db.prepare("SELECT n FROM numbers ORDER BY n").unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        })
    }

    fn job(
        work: impl FnOnce(&Savepoint<'_>) -> Result<(), Error> + Send + 'static,
    ) -> (Job, mpsc::Receiver<Result<(), Error>>) {
        let (outcome, told) = mpsc::sync_channel(1);
        (Job { work: Box::new(work), outcome }, told)
    }

    #[test]
    fn whoever_has_the_database_writes_for_those_who_wait() {
        let group = group();
        let (other, told) = job(insert(1));
        group.waiting.lock().push(other);
        group.write(insert(2)).unwrap();
        assert_eq!(told.try_recv(), Ok(Ok(())));
        assert_eq!(numbers(&group), [1, 2]);
    }

    #[test]
    fn writers_on_many_threads_are_all_answered() {
        let group = &group();
        std::thread::scope(|scope| {
            for n in 0..20 {
                scope.spawn(move || group.write(insert(n)).unwrap());
            }
        });
        assert_eq!(numbers(group), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_transaction_that_cannot_begin_is_an_error_for_all() {
        let group = group();
        group.read(|db| db.execute_batch("BEGIN")).unwrap();
        let (other, told) = job(insert(1));
        group.waiting.lock().push(other);
        group.write(insert(2)).unwrap_err();
        told.try_recv().unwrap().unwrap_err();
        group.read(|db| db.execute_batch("ROLLBACK")).unwrap();
        group.write(insert(3)).unwrap();
        assert_eq!(numbers(&group), [3]);
    }

    #[test]
    fn a_full_disk_is_told_as_such_and_nobody_believes_what_was_not_written() {
        let mut db = group().db.into_inner();
        db.execute_batch("CREATE TABLE bulk (bytes BLOB); PRAGMA max_page_count = 8").unwrap();
        let bulk = |db: &Savepoint<'_>| {
            db.execute("INSERT INTO bulk VALUES (zeroblob(1000000))", []).map(|_| ())
        };
        let (jobs, told): (Vec<_>, Vec<_>) =
            [job(insert(1)), job(bulk), job(insert(2))].into_iter().unzip();
        commit(&mut db, jobs);
        let outcomes: Vec<_> = told.iter().map(|told| told.try_recv().unwrap()).collect();
        let full = Some(rusqlite::ErrorCode::DiskFull);
        assert_eq!(outcomes[1].as_ref().unwrap_err().sqlite_error_code(), full);
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!(error.sqlite_error_code(), full);
        }
        let written = numbers(&Group::new(db));
        assert_eq!(outcomes[0].is_ok(), written.contains(&1));
        assert_eq!(outcomes[2].is_ok(), written.contains(&2));
    }

    #[test]
    fn what_fails_for_one_is_written_for_the_others() {
        let mut db = group().db.into_inner();
        let job = |(own, n)| {
            job(move |db: &Savepoint<'_>| {
                insert(own)(db)?;
                insert(n)(db)
            })
        };
        let pairs = [(101, 1), (102, 2), (103, 2), (104, 3)];
        let (jobs, told): (Vec<_>, Vec<_>) = pairs.map(job).into_iter().unzip();
        // The third one wants a number of the second: its own one goes with it.
        commit(&mut db, jobs);
        let outcomes: Vec<_> = told.iter().map(|told| told.recv().unwrap().is_ok()).collect();
        assert_eq!(outcomes, [true, true, false, true]);
        assert_eq!(numbers(&Group::new(db)), [1, 2, 3, 101, 102, 104]);
    }
}
