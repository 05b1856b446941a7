//! Who may have which shards.
//!
//! Shards are given to the best that are ready: wanted workers of the right revision, else others of that revision, else
//! those of another one. So nothing goes back to an old revision while the new one has a ready worker, and the old one
//! keeps what it has while there is none.
//!
//! Quarantined shards live on one worker, the host, and no others do, as soon as there are two workers. The host is the
//! worker that was taken down last, even if it is down now: it is the one whose container restarts more and more slowly.
//! One that is not ready for long is given up.

use std::collections::BTreeSet;

use super::assignment::Shard;
use super::balance::{Burdens, Weights};
use super::quarantine::{LONGEST_REST, Quarantine};
use super::view::{Fitness, Standing, View};

/// Who may have which shards, as things are at one moment.
#[derive(Clone, Debug)]
pub(super) struct Homes<'a> {
    view: &'a View,
    /// The workers that shards are given to.
    pool: BTreeSet<&'a str>,
    fitness: Fitness,
    host: Option<&'a str>,
}

impl<'a> Homes<'a> {
    pub fn new(view: &'a View, shards: &[Shard], weights: &Weights) -> Self {
        let ready = || view.workers.iter().filter(|(_, worker)| worker.standing == Standing::Ready);
        let fitness = ready().map(|(_, worker)| worker.fitness(&view.revision)).max().unwrap_or_default();
        let pool = ready().filter(|(_, worker)| worker.fitness(&view.revision) == fitness);
        let pool = pool.map(|(name, _)| name.as_str()).collect();
        let mut homes = Self { view, pool, fitness, host: None };
        homes.host = homes.choose_host(shards, weights);
        homes
    }

    /// The workers that shards other than quarantined ones are given to.
    pub fn pool(&self) -> impl Iterator<Item = &'a str> {
        let host = self.host;
        self.pool.iter().copied().filter(move |worker| host != Some(*worker))
    }

    /// Every worker that gets shards.
    pub fn all(&self) -> impl Iterator<Item = &'a str> {
        self.pool.iter().copied()
    }

    /// Whether a shard can be given to a worker now.
    pub fn takes(&self, worker: &str, shard: u32) -> bool {
        self.pool.contains(worker) && self.suits(worker, shard)
    }

    /// Whether a shard is at home at a worker, ready or not.
    pub fn suits(&self, worker: &str, shard: u32) -> bool {
        self.is_fit(worker) && self.is_apart(worker, shard)
    }

    /// Whether a worker is as good a home as those that shards are given to.
    pub fn is_fit(&self, worker: &str) -> bool {
        self.view.workers.get(worker).is_some_and(|worker| worker.fitness(&self.view.revision) >= self.fitness)
    }

    /// Whether a worker is the one that quarantined shards live on.
    pub fn is_host(&self, worker: &str) -> bool {
        self.host == Some(worker)
    }

    /// Whether a quarantined shard is at the host, or another one is not.
    pub fn is_apart(&self, worker: &str, shard: u32) -> bool {
        self.host.is_none_or(|host| (host == worker) == self.view.is_quarantined(shard))
    }

    fn choose_host(&self, shards: &[Shard], weights: &Weights) -> Option<&'a str> {
        if self.view.verdict.quarantined.is_empty() {
            return None;
        }
        let owners = self.owners_of_quarantined(shards);
        let ready = owners.iter().copied().find(|owner| self.pool.contains(owner));
        let away = || owners.first().copied().filter(|_| self.is_awaited());
        let host = ready.or_else(away).or_else(|| self.last_victim()).or_else(|| self.lightest(shards, weights));
        host.filter(|host| self.pool.iter().any(|worker| worker != host))
    }

    /// Who has quarantined shards already, and may keep them.
    fn owners_of_quarantined(&self, shards: &[Shard]) -> Vec<&'a str> {
        let quarantined = self.view.verdict.quarantined.keys().filter(|shard| !self.view.is_resting(**shard));
        let owners = quarantined.filter_map(|shard| shards.get(*shard as usize)?.destination());
        owners.filter(|owner| !self.view.is_lost(owner)).filter_map(|owner| self.known(owner)).collect()
    }

    /// Whether a host that is not ready is still waited for.
    fn is_awaited(&self) -> bool {
        self.view.verdict.quarantined.values().any(|quarantine| self.awaits(quarantine))
    }

    fn awaits(&self, quarantine: &Quarantine) -> bool {
        self.view.now < quarantine.until + LONGEST_REST
    }

    /// The worker that was taken down last.
    fn last_victim(&self) -> Option<&'a str> {
        let quarantined = self.view.verdict.quarantined.values().filter(|quarantine| self.awaits(quarantine));
        quarantined.map(|quarantine| quarantine.worker.as_str()).find_map(|worker| self.known(worker))
    }

    fn known(&self, worker: &str) -> Option<&'a str> {
        let (name, _) = self.view.workers.get_key_value(worker)?;
        self.is_fit(name).then_some(name)
    }

    fn lightest(&self, shards: &[Shard], weights: &Weights) -> Option<&'a str> {
        Burdens::new(self.all(), shards, weights).lightest(|_| true)
    }
}
