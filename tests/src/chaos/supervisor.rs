//! The processes of a pipeline under faults, tended as a supervisor would: who was fenced ends with exit code 4 and is
//! not missed while another runs; nobody may end in any other way unless a fault did it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{Fault, PARTITIONS};
use crate::pipeline::{DONE, FENCED, Millstream};
use crate::process::Signal;
use crate::suite::Case;
use crate::wait;

/// Recovery takes about a second, up to twelve where a transaction must time out.
const GUARD: Duration = Duration::from_mins(2);
/// The transaction timeout of the pipeline is 10 s; the broker looks every 200 ms.
const PAST_TIMEOUT: Duration = Duration::from_secs(11);

/// Somebody who was frozen may wake up and fence a process before it comes to its fault point: then another one is started.
const TRIES: usize = 5;

/// A process, and whether it was told to end.
struct Worker {
    process: Millstream,
    told: bool,
}

/// A process that was frozen, and when it is to go on.
struct Frozen {
    worker: Worker,
    until: Instant,
}

/// All processes of the pipeline.
pub(super) struct Supervisor<'a> {
    case: &'a Case<'a>,
    manifest: PathBuf,
    rng: StdRng,
    group: BaseConsumer,
    live: Vec<Worker>,
    frozen: Vec<Frozen>,
    started: usize,
    fenced: usize,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(case: &'a Case<'a>, manifest: PathBuf, rng: StdRng) -> Result<Self> {
        let group = ClientConfig::new()
            .set("bootstrap.servers", case.client.bootstrap())
            .set("group.id", case.application_id())
            // Else the answer would wait for a frozen process's transaction.
            .set("isolation.level", "read_uncommitted")
            .create()?;
        Ok(Self { case, manifest, rng, group, live: Vec::new(), frozen: Vec::new(), started: 0, fenced: 0 })
    }

    /// Lets a fault happen; returns when one process is left and has made a checkpoint.
    pub(super) fn suffer(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::Kill => self.kill()?,
            Fault::Freeze => self.freeze()?,
            Fault::Pause => self.pause()?,
            Fault::Duel => (0..2).try_for_each(|_| self.start(None))?,
            Fault::Point { point, stop, passing } => self.at_point(point, *stop, *passing)?,
            Fault::Timeout { point } => self.time_out(point)?,
            Fault::BrokerKilled => self.without_broker(|case| case.cluster.kill(0))?,
            Fault::BrokerRestarted => self.without_broker(|case| case.cluster.stop(0))?,
        }
        self.settle()
    }

    /// Wakes whose time has come, takes note of who has been fenced, and sees to it that somebody runs.
    pub(super) fn tend(&mut self) -> Result<()> {
        let now = Instant::now();
        for mut frozen in self.frozen.extract_if(.., |frozen| frozen.until <= now) {
            frozen.worker.process.signal(Signal::Continue)?;
            self.live.push(frozen.worker);
        }
        self.reap()?;
        if self.live.is_empty() { self.start(None) } else { Ok(()) }
    }

    /// Wakes everybody and waits until one is left, while there is still input: who has nothing to commit does not notice
    /// that it was fenced.
    pub(super) fn wake_all(&mut self) -> Result<()> {
        self.frozen.iter_mut().for_each(|frozen| frozen.until = Instant::now());
        self.settle()
    }

    /// Ends the run in order: the one that is left hands its shards over.
    pub(super) fn finish(mut self) -> Result<(usize, usize)> {
        self.settle_without_progress()?;
        self.live.iter_mut().try_for_each(|worker| worker.process.stop())?;
        let headers = crate::header::read(&self.case.client, &self.case.application_id())?;
        ensure!(headers.values().all(|header| header.released), "a header is not released: {headers:?}");
        Ok((self.started, self.fenced))
    }

    fn start(&mut self, fault: Option<&str>) -> Result<()> {
        self.started += 1;
        let run = self.case.run(&self.manifest, &format!("run-{:04}", self.started));
        let run = fault.map_or(run.clone(), |fault| run.fault(fault));
        self.live.push(Worker { process: run.start()?, told: false });
        Ok(())
    }

    fn reap(&mut self) -> Result<()> {
        let mut error = None;
        self.live.retain_mut(|worker| match worker.process.code() {
            Ok(None) => true,
            Ok(Some(FENCED)) => {
                self.fenced += 1;
                false
            }
            Ok(Some(DONE)) if worker.told => false,
            other => {
                error = Some(format!("process {}: {other:?}\n{}", worker.process.id(), tail(&worker.process)));
                false
            }
        });
        error.map_or(Ok(()), |error| bail!("a process ended by itself: {error}"))
    }

    /// Waits until one process is left and all positions have moved on: one shard alone may belong to a process that was
    /// fenced elsewhere and is about to end.
    fn settle(&mut self) -> Result<()> {
        self.settle_without_progress()?;
        let mark = wait::until("the group's offsets", GUARD, || {
            self.tend()?;
            Ok(self.progress())
        })?;
        wait::until_true("a checkpoint behind the fault", GUARD, || {
            self.tend()?;
            let ahead = |now: Vec<i64>| now.iter().zip(&mark).all(|(now, mark)| now > mark);
            Ok(self.live.len() == 1 && self.progress().is_some_and(ahead))
        })
    }

    fn settle_without_progress(&mut self) -> Result<()> {
        let left = wait::until_true("one process to be left", GUARD, || {
            self.tend()?;
            Ok(self.live.len() == 1)
        });
        left.with_context(|| self.stacks())
    }

    /// The logs and threads of all processes that run: of use where one hangs.
    fn stacks(&self) -> String {
        let each = self.live.iter().map(|worker| {
            format!("process {}:\n{}\n{}", worker.process.id(), tail(&worker.process), worker.process.stacks())
        });
        each.collect::<Vec<_>>().join("\n")
    }

    /// The group's offsets, -1 where there is none: they grow with every commit, and with nothing else.
    fn progress(&self) -> Option<Vec<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.case.topic("in"), 0, PARTITIONS - 1);
        let committed = self.group.committed_offsets(list, Duration::from_secs(5)).ok()?;
        Some(committed.elements().iter().map(|e| e.offset().to_raw().map_or(-1, |offset| offset.max(-1))).collect())
    }

    fn nap(&mut self, milliseconds: std::ops::Range<u64>) {
        thread::sleep(Duration::from_millis(self.rng.random_range(milliseconds)));
    }

    /// The process in charge.
    fn in_charge(&mut self) -> Result<Worker> {
        self.settle_without_progress()?;
        self.live.pop().context("nobody runs")
    }

    fn kill(&mut self) -> Result<()> {
        self.nap(0..400);
        self.in_charge()?.process.kill()
    }

    fn freeze(&mut self) -> Result<()> {
        self.nap(0..400);
        let mut worker = self.in_charge()?;
        worker.process.signal(Signal::Stop)?;
        self.put_to_sleep(worker);
        Ok(())
    }

    /// Keeps a frozen process for a while: mostly one or two seconds, at times past its transaction timeout.
    fn put_to_sleep(&mut self, worker: Worker) {
        let time = if self.rng.random_ratio(1, 8) {
            PAST_TIMEOUT + Duration::from_millis(self.rng.random_range(0..3000))
        } else {
            Duration::from_millis(self.rng.random_range(100..2500))
        };
        self.frozen.push(Frozen { worker, until: Instant::now() + time });
    }

    fn pause(&mut self) -> Result<()> {
        let mut worker = self.in_charge()?;
        worker.process.signal(Signal::Stop)?;
        thread::sleep(PAST_TIMEOUT);
        worker.process.signal(Signal::Continue)?;
        self.live.push(worker);
        Ok(())
    }

    fn time_out(&mut self, point: &str) -> Result<()> {
        let fault = format!("{point}=delay:{}@3", PAST_TIMEOUT.as_millis());
        for _ in 0..TRIES {
            let mut worker = self.start_apart(&fault)?;
            let delayed = wait::until("the process to be delayed", GUARD, || {
                self.reap()?;
                let there = worker.process.expect_words(&["fault point"]).is_ok();
                Ok(if there { Some(true) } else { self.ended_fenced(&mut worker)?.then_some(false) })
            })?;
            if delayed {
                thread::sleep(PAST_TIMEOUT);
                self.live.push(worker);
                return Ok(());
            }
        }
        bail!("no process came to {point}");
    }

    /// Whether a process that is looked at apart was fenced. If it was told to end, that may show in its shards only, which
    /// then end without a release; any other end is an error.
    fn ended_fenced(&mut self, worker: &mut Worker) -> Result<bool> {
        match worker.process.code()? {
            None => Ok(false),
            Some(DONE) if worker.told => Ok(true),
            Some(FENCED) => {
                self.fenced += 1;
                Ok(true)
            }
            Some(code) => bail!("exit code {code} instead of the fault"),
        }
    }

    /// Starts a process with a fault, which is looked at apart from the others.
    fn start_apart(&mut self, fault: &str) -> Result<Worker> {
        self.start(Some(fault))?;
        self.live.pop().context("nobody was started")
    }

    fn at_point(&mut self, point: &str, stop: bool, passing: u32) -> Result<()> {
        let fault = format!("{point}={}@{passing}", if stop { "stop" } else { "kill" });
        for _ in 0..TRIES {
            let mut worker = self.start_apart(&fault)?;
            self.lead_to(point, &mut worker)?;
            let hit = self.hit(&mut worker, stop);
            self.restore(point)?;
            if hit.with_context(|| tail(&worker.process))? {
                if stop {
                    self.put_to_sleep(worker);
                }
                return Ok(());
            }
        }
        bail!("no process came to {point}");
    }

    /// Brings about what leads a process to its point, if it does not come there by itself.
    fn lead_to(&mut self, point: &str, worker: &mut Worker) -> Result<()> {
        let led = point.starts_with("release.") || point.starts_with("abort.");
        if !led || worker.process.wait_ready().is_err() {
            return Ok(()); // It comes there by itself, or it was fenced already.
        }
        if point.starts_with("release.") {
            worker.told = true;
            return worker.process.signal(Signal::Terminate);
        }
        // From now on, and without the process knowing, the broker refuses the input's old records.
        self.case.client.configure_topic(&self.case.topic("out"), &[("message.timestamp.before.max.ms", "3600000")])
    }

    fn restore(&mut self, point: &str) -> Result<()> {
        if point.starts_with("abort.") {
            self.case.client.configure_topic(&self.case.topic("out"), &[])?;
        }
        Ok(())
    }

    /// Waits until a process is killed or stopped at its point; false if it was fenced before.
    fn hit(&mut self, worker: &mut Worker, stop: bool) -> Result<bool> {
        wait::until("the process to come to its fault point", GUARD, || {
            self.reap()?;
            if stop && worker.process.is_stopped() {
                return Ok(Some(true));
            }
            if !stop && worker.process.code()? == Some(-9) {
                return Ok(Some(true));
            }
            Ok(self.ended_fenced(worker)?.then_some(false))
        })
    }

    fn without_broker(&mut self, down: impl Fn(&Case<'_>) -> Result<()>) -> Result<()> {
        let mut worker = self.in_charge()?;
        down(self.case)?;
        self.nap(100..1000);
        self.case.cluster.start_node(0)?;
        worker.process.must_run().context("a broker that restarts is to be waited for")?;
        self.live.push(worker);
        Ok(())
    }
}

fn tail(process: &Millstream) -> String {
    let output = process.output();
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
