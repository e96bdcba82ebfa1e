//! One sync for all who write at the same time: thousands of torrents that start together would wait for the disk
//! one after the other.

use std::sync::mpsc;

use parking_lot::Mutex;
use rusqlite::{Connection, Error, Savepoint};

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
    let mut written = Vec::with_capacity(jobs.len());
    let committed = (|| {
        let mut transaction = db.transaction()?;
        for Job { work, outcome } in jobs {
            let done = (|| {
                let savepoint = transaction.savepoint()?;
                work(&savepoint)?;
                savepoint.commit()
            })();
            written.push((outcome, done));
        }
        transaction.commit()
    })();
    for (outcome, done) in written {
        let done = done.and_then(|()| committed.as_ref().copied().map_err(same));
        // Who asked waits for nothing else.
        let _ = outcome.send(done);
    }
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

    #[test]
    fn who_comes_while_the_database_is_busy_is_written_with_the_others() {
        let group = &group();
        let busy = group.db.lock();
        std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..20).map(|n| scope.spawn(move || group.write(insert(n)))).collect();
            while group.waiting.lock().len() < 20 {
                std::thread::yield_now();
            }
            let commits = || busy.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0));
            assert_eq!(commits(), Ok(0_i64));
            drop(busy);
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        assert_eq!(numbers(group), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_fails_for_one_is_written_for_the_others() {
        let mut db = group().db.into_inner();
        let job = |(own, n)| {
            let (outcome, told) = mpsc::sync_channel(1);
            let work: Work = Box::new(move |db: &Savepoint<'_>| {
                insert(own)(db)?;
                insert(n)(db)
            });
            (Job { work, outcome }, told)
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
