//! What happens to a pipeline on Kubernetes, and how a test brings it about.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::GUARD;
use crate::installation::run;
use crate::kubernetes::Kubernetes;
use crate::site::{RELEASE, SYSTEM, Site};
use crate::wait;

/// Longer than the `workerTimeout` of the pipeline, which is the default of 5 s, and than the 10 s within which others
/// take over.
const LONG: Duration = Duration::from_secs(15);
/// The port of the operator's pods that workers report to.
const REPORTS: &str = "8443";
/// The table of packet filter rules that cut the operator off.
const CUT: &str = "millstream-test-cut";

/// What becomes of the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Some go to other workers.
    Expected,
    /// None may be taken from a worker that has not let it go.
    NeverForced,
}

/// A pipeline that is hit.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Where everything is.
    pub site: &'a Site,
    /// The namespace of the pipeline `p`.
    pub namespace: &'a str,
}

/// Something that happens.
#[derive(Clone, Copy)]
pub struct Fault {
    /// What it is.
    pub name: &'static str,
    /// How many workers own shards when it is over.
    pub workers: usize,
    /// What becomes of the shards.
    pub moves: Moves,
    /// Lets it happen.
    pub happen: fn(Target<'_>) -> Result<()>,
}

const fn fault(name: &'static str, moves: Moves, happen: fn(Target<'_>) -> Result<()>) -> Fault {
    Fault { name, workers: 3, moves, happen }
}

/// All faults of a pipeline of three workers, in their order.
pub const FAULTS: &[Fault] = &[
    fault("a pod deleted gracefully", Moves::Expected, |at| at.delete_worker(&["--wait=false"])),
    fault("a pod deleted by force", Moves::Expected, |at| at.delete_worker(&["--grace-period=0", "--force"])),
    fault("a worker's process killed", Moves::Expected, |at| at.signal_worker("-KILL")),
    fault("a worker frozen, and continued behind the takeover", Moves::Expected, |at| {
        // Its kubelet kills it after the liveness probe has failed three times; until then it is a zombie.
        at.signal_worker("-STOP")?;
        thread::sleep(LONG);
        Ok(())
    }),
    fault("a worker with 20 m of CPU for 30 s", Moves::NeverForced, |at| {
        let throttled = Throttled::start(&at)?;
        thread::sleep(Duration::from_secs(30));
        throttled.end()
    }),
    fault("a kubelet stopped for 15 s", Moves::NeverForced, |at| {
        at.site.kubernetes.freeze_kubelet(1)?;
        thread::sleep(LONG);
        at.site.kubernetes.thaw_kubelet(1)
    }),
    fault("the operator's leader killed", Moves::NeverForced, |at| at.end_leader(&["--grace-period=0", "--force"])),
    fault("the operator's leader stopped", Moves::NeverForced, |at| at.end_leader(&["--wait=false"])),
    fault("the operator cut off from all workers for 15 s", Moves::NeverForced, |_| {
        let cut = Cut::start()?;
        thread::sleep(LONG);
        cut.end()
    }),
    fault("the API server stopped for a minute", Moves::NeverForced, |at| {
        at.site.kubernetes.stop_api_server()?;
        thread::sleep(Duration::from_mins(1));
        at.site.kubernetes.start_api_server()
    }),
    fault("the broker restarted", Moves::Expected, |at| {
        at.site.kafka.stop(0)?;
        at.site.kafka.start_node(0)
    }),
    Fault { workers: 1, ..fault("replicas 3 to 1", Moves::Expected, |at| at.scale(1)) },
    Fault { workers: 4, ..fault("replicas 1 to 4", Moves::Expected, |at| at.scale(4)) },
    Fault { workers: 2, ..fault("replicas 4 to 2", Moves::Expected, |at| at.scale(2)) },
    fault("replicas 2 to 3", Moves::Expected, |at| at.scale(3)),
    fault("a changed spec", Moves::Expected, |at| at.change_spec()),
];

impl Target<'_> {
    fn kubernetes(&self) -> &Kubernetes {
        &self.site.kubernetes
    }

    /// A worker that runs.
    fn worker(&self) -> Result<String> {
        let pods = self.kubernetes().pods(self.namespace, "millstream.dev/pipeline=p")?;
        pods.first().cloned().context("there is no worker")
    }

    fn delete_worker(&self, how: &[&str]) -> Result<()> {
        let pod = self.worker()?;
        let arguments: Vec<&str> = ["-n", self.namespace, "delete", "pod", &pod].iter().chain(how).copied().collect();
        self.kubernetes().kubectl(&arguments).map(drop)
    }

    /// Ends the operator's replica that leads, and waits until another one does.
    fn end_leader(&self, how: &[&str]) -> Result<()> {
        let holder = || self.kubernetes().get(SYSTEM, &format!("lease/{RELEASE}"), "{.spec.holderIdentity}");
        let leader = holder()?;
        let arguments: Vec<&str> = ["-n", SYSTEM, "delete", "pod", &leader].iter().chain(how).copied().collect();
        self.kubernetes().kubectl(&arguments)?;
        wait::until_true("another leader", GUARD, || {
            let now = holder()?;
            Ok(!now.is_empty() && now != leader)
        })
    }

    /// The process of a worker. The pod may be one whose process was killed a moment ago.
    fn process(&self) -> Result<u32> {
        wait::until("the worker's process", GUARD, || {
            let pod = self.worker()?;
            Ok(self.kubernetes().process_of(self.namespace, &pod).ok())
        })
    }

    fn signal_worker(&self, signal: &str) -> Result<()> {
        let process = self.process()?.to_string();
        let status = Command::new("kill").args([signal, &process]).status()?;
        ensure!(status.success(), "kill {signal} {process} failed");
        Ok(())
    }

    fn scale(&self, replicas: usize) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        self.kubernetes().kubectl(&["-n", self.namespace, "scale", "msp/p", &replicas]).map(drop)
    }

    /// The same to be computed in another way: a new revision, which gets the shards once its workers are ready.
    fn change_spec(&self) -> Result<()> {
        let active = || self.kubernetes().get(self.namespace, "msp/p", "{.status.activeRevision}");
        let former = active()?;
        let path = "{.spec.transforms[0].set[0].expression}";
        let now = self.kubernetes().get(self.namespace, "msp/p", path)?;
        let other = if now == "amount * 2" { "amount + amount" } else { "amount * 2" };
        let patch = format!(r#"[{{"op":"replace","path":"/spec/transforms/0/set/0/expression","value":"{other}"}}]"#);
        self.kubernetes().kubectl(&["-n", self.namespace, "patch", "msp", "p", "--type=json", "-p", &patch])?;
        wait::until_true("the new revision", GUARD, || Ok(active()? != former))
    }
}

/// A worker that is given little of a processor, until this is dropped.
struct Throttled {
    quota: String,
}

impl Throttled {
    /// 20 thousandths of a processor, in portions of 100 ms, as Kubernetes would set it.
    fn start(at: &Target<'_>) -> Result<Self> {
        let process = at.process()?;
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
        let (quota, value) =
            quota_file(&groups).context("the worker's control group has no quota of processor time")?;
        fs::write(&quota, value).with_context(|| format!("cannot write {quota}"))?;
        Ok(Self { quota })
    }

    fn end(self) -> Result<()> {
        self.lift()
    }

    fn lift(&self) -> Result<()> {
        let unlimited = if self.quota.ends_with("cpu.max") { "max 100000" } else { "-1" };
        match fs::write(&self.quota, unlimited) {
            // The container was restarted meanwhile; its group is gone.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot write {}", self.quota))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Throttled {
    fn drop(&mut self) {
        // Told by `end`, if it came to that.
        drop(self.lift());
    }
}

/// The file with the quota of a process's control group, and what to write to it: of the first version of control
/// groups where there is a `cpu` controller, else of the second.
fn quota_file(groups: &str) -> Option<(String, &'static str)> {
    let parts = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1).map(str::to_owned);
        Some((parts.next()?, parts.next()?))
    };
    let groups: Vec<(String, String)> = groups.lines().filter_map(parts).collect();
    let first = groups.iter().find(|(controllers, _)| controllers.split(',').any(|name| name == "cpu"));
    if let Some((_, path)) = first {
        return Some((format!("/sys/fs/cgroup/cpu{path}/cpu.cfs_quota_us"), "2000"));
    }
    let (_, path) = groups.iter().find(|(controllers, _)| controllers.is_empty())?;
    Some((format!("/sys/fs/cgroup{path}/cpu.max"), "2000 100000"))
}

/// Reports that do not arrive, until this is dropped.
struct Cut;

impl Cut {
    fn start() -> Result<Self> {
        // On their way through the bridge, behind the translation of the Service's address; open connections stay open.
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]);
        let chain = format!("type filter hook forward priority -300; tcp dport {REPORTS} drop;");
        let (said, done) = run(nft, &format!("table inet {CUT} {{\n chain forward {{\n {chain}\n }}\n}}\n"))?;
        ensure!(done, "nft cannot cut the operator off: {said}");
        Ok(Self)
    }

    fn end(self) -> Result<()> {
        // Dropping it does the same, without an error.
        let status = Command::new("nft").args(["delete", "table", "inet", CUT]).status().context("nft")?;
        ensure!(status.success(), "nft cannot take back that the operator is cut off");
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        drop(Command::new("nft").args(["delete", "table", "inet", CUT]).status());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_found_in_both_versions_of_control_groups() {
        let first = "12:cpuset:/a\n4:cpu,cpuacct:/kubepods/pod1/x\n0::/kubepods/pod1/x\n";
        assert_eq!(quota_file(first), Some(("/sys/fs/cgroup/cpu/kubepods/pod1/x/cpu.cfs_quota_us".to_owned(), "2000")));
        let second = "0::/kubepods/pod1/x\n";
        assert_eq!(quota_file(second), Some(("/sys/fs/cgroup/kubepods/pod1/x/cpu.max".to_owned(), "2000 100000")));
        assert_eq!(quota_file("3:memory:/a\n"), None);
    }
}
