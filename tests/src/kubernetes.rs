//! A real Kubernetes on this machine, with real nodes and pods, for tests of the operator and the chart.
//!
//! `tests/kubernetes/up.sh` starts it and says what it consists of. A machine can have one cluster with nodes at a
//! time, but any number of control planes without. Pods reach servers of the test, a Kafka broker for instance, that
//! listen on [`Kubernetes::host`]; the test reaches pods and Services at their own addresses. There is no registry:
//! images are files, pods say `imagePullPolicy: Never`. Dropping the [`Kubernetes`] ends it without a trace.
//!
//! With `MILLSTREAM_TEST_CLUSTER=existing` the tests run against the cluster that `KUBECONFIG` leads to, as far as they
//! ask for no faults. Then `MILLSTREAM_TEST_HOST` is an address of this machine that pods reach, and
//! `MILLSTREAM_TEST_IMPORT` a command that brings an image to all nodes, such as `kind load image-archive`; the file is
//! its last argument.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::installation::{cache, run};
use crate::{ports, wait};

/// The host's address on the bridge that `up.sh` makes.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The API server serves again after 3–6 s on an idle machine.
const START: Duration = Duration::from_mins(5);

/// A running cluster.
#[derive(Debug)]
pub struct Kubernetes {
    /// The state of `up.sh`; in any case the files of kubectl and helm.
    directory: TempDir,
    kubeconfig: PathBuf,
    host: Ipv4Addr,
    /// How many nodes were started; none if the cluster is not ours.
    nodes: Option<usize>,
}

impl Kubernetes {
    /// Starts a cluster of so many nodes, with `images` in each of them, and waits until it is ready. Without nodes it
    /// is a control plane, needs no root, and its pods stay pending.
    pub fn start(nodes: usize, images: &[PathBuf]) -> Result<Self> {
        let cluster = if is_existing() { Self::existing()? } else { Self::own(nodes)? };
        for image in images {
            cluster.import_image(image)?;
        }
        Ok(cluster)
    }

    fn own(nodes: usize) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once(nodes) {
                Err(error) if tries < 3 && format!("{error:#}").contains("address already in use") => {}
                result => return result,
            }
        }
    }

    fn start_once(nodes: usize) -> Result<Self> {
        // Unix sockets, whose paths must be short, lie in it.
        let directory = tempfile::Builder::new().prefix("ms-k8s-").tempdir_in("/tmp")?;
        let kubeconfig = directory.path().join("kubeconfig");
        let host = if nodes > 0 { BRIDGE } else { Ipv4Addr::LOCALHOST };
        // From here on, dropping it takes down what has been started so far.
        let cluster = Self { directory, kubeconfig, host, nodes: Some(nodes) };
        let ports = ports::free(2)?;
        let mut up = script("up.sh");
        up.arg(cluster.directory.path())
            .env("NODES", nodes.to_string())
            .env("OWNER", std::process::id().to_string())
            .env("ETCD_PORT", ports[0].to_string())
            .env("API_PORT", ports[1].to_string());
        succeed(up, "").context("cannot start Kubernetes")?;
        Ok(cluster)
    }

    fn existing() -> Result<Self> {
        let kubeconfig = env::var_os("KUBECONFIG").context("MILLSTREAM_TEST_CLUSTER=existing needs KUBECONFIG")?;
        let host = env::var("MILLSTREAM_TEST_HOST")
            .context("MILLSTREAM_TEST_CLUSTER=existing needs MILLSTREAM_TEST_HOST, where pods reach this machine")?;
        let host = host.parse().with_context(|| format!("MILLSTREAM_TEST_HOST is no IPv4 address: {host}"))?;
        let directory = tempfile::Builder::new().prefix("ms-k8s-").tempdir()?;
        Ok(Self { directory, kubeconfig: kubeconfig.into(), host, nodes: None })
    }

    /// Why [`Kubernetes::start`] cannot run nodes here, if it cannot.
    pub fn unavailable() -> Option<String> {
        if is_existing() {
            return env::var_os("KUBECONFIG").is_none().then(|| "KUBECONFIG is not set".to_owned());
        }
        let installed = match installed() {
            Ok(directory) => directory,
            Err(error) => return Some(error.to_string()),
        };
        if !installed.join("complete").exists() {
            return Some(format!("there is no Kubernetes in {}; run tests/kubernetes/install.sh", installed.display()));
        }
        if !is_root() {
            return Some("the nodes of a cluster need root".to_owned());
        }
        let missing: Vec<&str> =
            ["containerd", "ctr", "runc", "nft", "ip"].into_iter().filter(|program| !is_in_path(program)).collect();
        (!missing.is_empty())
            .then(|| format!("{} cannot be found; run tests/kubernetes/install.sh", missing.join(", ")))
    }

    /// The file with an administrator's credentials.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of this machine that pods reach. Servers that listen on 127.0.0.1 only are out of their reach.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// Runs kubectl and returns what it printed; the error has what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with `input`, for `apply -f -`.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = program("kubectl")?;
        let cache = self.directory.path().join("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", cache).args(arguments);
        succeed(command, input).with_context(|| format!("kubectl {} failed", arguments.join(" ")))
    }

    /// Runs helm and returns what it printed.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = program("helm")?;
        let home = self.directory.path().join("helm");
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .args(arguments);
        succeed(command, "").with_context(|| format!("helm {} failed", arguments.join(" ")))
    }

    /// Brings an image from a file in the docker-archive form, as `tests/kubernetes/images/mkimage.sh` makes them, to
    /// every node.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let Some(nodes) = self.nodes else {
            let import = env::var("MILLSTREAM_TEST_IMPORT")
                .context("MILLSTREAM_TEST_IMPORT is not set: how do images come to the existing cluster?")?;
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{import} \"$0\"")]).arg(archive);
            succeed(command, "").with_context(|| format!("cannot import {}", archive.display()))?;
            return Ok(());
        };
        for node in 1..=nodes {
            let mut import = self.ctr(node);
            import.args(["images", "import"]).arg(archive);
            succeed(import, "").with_context(|| format!("cannot import {} into node {node}", archive.display()))?;
        }
        Ok(())
    }

    /// The client of a node's container runtime.
    fn ctr(&self, node: usize) -> Command {
        let socket = self.directory.path().join(format!("node{node}/containerd.sock"));
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(socket).args(["--namespace", "k8s.io"]);
        ctr
    }

    /// A field of objects by a `JSONPath`, such as `{.status.phase}`.
    pub fn get(&self, namespace: &str, what: &str, path: &str) -> Result<String> {
        self.kubectl(&["-n", namespace, "get", what, "-o", &format!("jsonpath={path}")])
    }

    /// The pods of a selector that run, by name.
    pub fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<String>> {
        let path = "{range .items[?(@.status.phase==\"Running\")]}{.metadata.name}{\" \"}{.metadata.deletionTimestamp}{\"\\n\"}{end}";
        let all = self.kubectl(&["-n", namespace, "get", "pods", "-l", selector, "-o", &format!("jsonpath={path}")])?;
        let running = all.lines().filter_map(|line| line.split_once(' ').filter(|(_, deleted)| deleted.is_empty()));
        Ok(running.map(|(name, _)| name.to_owned()).collect())
    }

    /// The process id, on this machine, of the first process in a pod's container.
    pub fn process_of(&self, namespace: &str, pod: &str) -> Result<u32> {
        let nodes = self.nodes.context("processes of pods can only be reached on a cluster of the test's own")?;
        let id = self.get(namespace, &format!("pod/{pod}"), "{.status.containerStatuses[0].containerID}")?;
        let id = id.trim_start_matches("containerd://");
        ensure!(!id.is_empty(), "pod {pod} has no container yet");
        for node in 1..=nodes {
            let mut list = self.ctr(node);
            list.args(["tasks", "ls"]);
            let tasks = succeed(list, "")?;
            if let Some(task) = tasks.lines().find(|line| line.starts_with(id)) {
                let pid = task.split_whitespace().nth(1).context("a task without a process id")?;
                return Ok(pid.parse()?);
            }
        }
        bail!("no node runs pod {pod}")
    }

    /// Kills the kubelet of a node, by the number in its name `node1`. The cluster takes the node for lost after 8 s,
    /// but its pods go on, as behind a broken network.
    pub fn stop_kubelet(&self, node: usize) -> Result<()> {
        self.process("kill", &format!("kubelet{node}"))
    }

    /// Starts a kubelet again; it takes over the pods that still run. The node may count as ready, or as lost, from
    /// before until the kubelet has reported.
    pub fn start_kubelet(&self, node: usize) -> Result<()> {
        self.process("start", &format!("kubelet{node}"))
    }

    /// Kills the API server: connections break, and new ones are refused.
    pub fn stop_api_server(&self) -> Result<()> {
        self.process("kill", "apiserver")
    }

    /// Starts the API server again and waits until it serves.
    pub fn start_api_server(&self) -> Result<()> {
        self.process("start", "apiserver")?;
        wait::until_true("the API server", START, || Ok(self.kubectl(&["get", "--raw", "/readyz"]).is_ok()))
    }

    /// Stops the API server with SIGSTOP until [`Self::thaw_api_server`]: requests hang, on open connections as on new
    /// ones.
    pub fn freeze_api_server(&self) -> Result<()> {
        self.process("pause", "apiserver")
    }

    /// Lets the API server go on.
    pub fn thaw_api_server(&self) -> Result<()> {
        self.process("continue", "apiserver")
    }

    /// Stops a node's kubelet with SIGSTOP until [`Self::thaw_kubelet`]: nobody hears of its pods, which go on.
    pub fn freeze_kubelet(&self, node: usize) -> Result<()> {
        self.process("pause", &format!("kubelet{node}"))
    }

    /// Lets a node's kubelet go on.
    pub fn thaw_kubelet(&self, node: usize) -> Result<()> {
        self.process("continue", &format!("kubelet{node}"))
    }

    /// The log of a process of the cluster, such as `apiserver` or `kubelet1`.
    pub fn log(&self, name: &str) -> String {
        let path = self.directory.path().join(format!("log/{name}.log"));
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// What is in a namespace, for people who look for the cause of a failure.
    pub fn describe(&self, namespace: &str) -> String {
        let sections: [&[&str]; 4] = [
            &["get", "msp,pipelineassignments,deployments,pods", "-o", "wide"],
            &["get", "msp", "-o", "yaml"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "-l", "app.kubernetes.io/name=millstream", "--tail=40", "--prefix", "--ignore-errors"],
        ];
        let mut text = String::new();
        for section in sections {
            let all: Vec<&str> = ["-n", namespace].into_iter().chain(section.iter().copied()).collect();
            let said = self.kubectl(&all).unwrap_or_else(|error| format!("{error:#}\n"));
            text.extend(["--- ", &section.join(" "), "\n", &said]);
        }
        text
    }

    fn process(&self, action: &str, name: &str) -> Result<()> {
        if self.nodes.is_none() {
            bail!("the cluster is an existing one, whose processes tests cannot {action}: {name}");
        }
        let mut command = script("process.sh");
        command.arg(self.directory.path()).args([action, name]);
        succeed(command, "").with_context(|| format!("cannot {action} {name}"))?;
        Ok(())
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        if self.nodes.is_some() && self.directory.path().join("pids").exists() {
            let mut down = script("down.sh");
            down.arg(self.directory.path());
            if let Err(error) = succeed(down, "") {
                eprintln!("cannot take Kubernetes down: {error:#}");
            }
        }
    }
}

/// Whether the tests are to run against a cluster that is not theirs.
pub fn is_existing() -> bool {
    env::var("MILLSTREAM_TEST_CLUSTER").is_ok_and(|cluster| cluster == "existing")
}

fn is_root() -> bool {
    // The effective one is the second of the four.
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}

fn is_in_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(program).exists()))
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes").join(name))
}

/// Where `tests/kubernetes/install.sh` puts things.
fn installed() -> Result<PathBuf> {
    Ok(cache()?.join("kubernetes"))
}

fn program(name: &str) -> Result<Command> {
    let path = installed()?.join("bin").join(name);
    ensure!(path.exists(), "there is no {}; run tests/kubernetes/install.sh", path.display());
    Ok(Command::new(path))
}

/// Runs a command that must succeed and returns what it printed.
fn succeed(command: Command, input: &str) -> Result<String> {
    let (output, success) = run(command, input)?;
    ensure!(success, "{}", output.trim_end());
    Ok(output)
}
