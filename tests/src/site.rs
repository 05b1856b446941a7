//! A place for pipelines: a real Kubernetes with Millstream installed by its chart, and a real Kafka that pods reach.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::client::Client;
use crate::cluster::{Cluster, Settings};
use crate::installation::run;
use crate::kubernetes::Kubernetes;
use crate::wait;

/// The namespace of the operator.
pub const SYSTEM: &str = "millstream-system";
/// The release's name.
pub const RELEASE: &str = "millstream";

/// The guard for everything that takes seconds.
const GUARD: Duration = Duration::from_mins(3);

/// Kubernetes, Kafka, and the images.
pub struct Site {
    // Fields are dropped in their order: Kafka listens on the bridge, which ends with Kubernetes.
    /// The Kafka.
    pub kafka: Cluster,
    /// A client of it.
    pub client: Client,
    /// The Kubernetes.
    pub kubernetes: Kubernetes,
    _images: TempDir,
}

impl Site {
    /// Starts everything but Millstream.
    pub fn start(nodes: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let images = images(directory.path())?;
        let kubernetes = Kubernetes::start(nodes, &images)?;
        let kafka = Cluster::start(&Settings::new().host(kubernetes.host()))?;
        let client = Client::new(&kafka.bootstrap())?;
        Ok(Self { kafka, client, kubernetes, _images: directory })
    }

    /// Installs Millstream, as the README says.
    pub fn install(&self) -> Result<String> {
        let chart = root().join("charts/millstream");
        self.kubernetes.helm(&[
            "install",
            RELEASE,
            &chart.display().to_string(),
            "--namespace",
            SYSTEM,
            "--create-namespace",
            "--wait",
            "--timeout",
            "5m",
            "--set",
            "image.pullPolicy=Never,worker.image.pullPolicy=Never",
        ])
    }

    /// Makes a namespace for one test.
    pub fn namespace(&self, name: &str) -> Result<()> {
        self.kubernetes.kubectl(&["create", "namespace", name]).map(drop)
    }

    /// Applies a manifest; `~` before a name stands for `NAMESPACE.`, so that tests do not share topics.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<()> {
        self.kubernetes
            .kubectl_with(&["-n", namespace, "apply", "-f", "-"], &manifest.replace('~', &format!("{namespace}.")))
            .map(drop)
    }

    /// The manifest of a Pipeline in which only the spec without its connections is given.
    pub fn pipeline(&self, name: &str, spec: &str) -> String {
        let mut text = format!(
            "apiVersion: millstream.dev/v1alpha1\nkind: Pipeline\nmetadata: {{name: {name}}}\nspec:\n  connections: [{{kafka: {{bootstrapServers: \"{}\"}}}}]\n",
            self.kafka.bootstrap()
        );
        for line in spec.trim().lines() {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Waits until so many workers own shards, and each shard has an owner and no move is under way.
    pub fn spread(&self, namespace: &str, pipeline: &str, workers: usize) -> Result<()> {
        wait::until_true(&format!("the shards to be spread over {workers} workers"), GUARD, || {
            let owners = self.owners(namespace, pipeline)?;
            let settled = owners.iter().all(|line| line.ends_with(",,") && !line.starts_with(','));
            let different: BTreeSet<&String> = owners.iter().collect();
            Ok(!owners.is_empty() && settled && different.len() == workers)
        })
        .with_context(|| self.kubernetes.describe(namespace))
    }

    /// The owner, the next and the former one of each shard, joined by commas; nothing while there is no assignment.
    pub fn owners(&self, namespace: &str, pipeline: &str) -> Result<Vec<String>> {
        let path = "{range .spec.shards[*]}{.owner}{\",\"}{.next}{\",\"}{.former}{\"\\n\"}{end}";
        let text = self.kubernetes.kubectl(&[
            "-n",
            namespace,
            "get",
            &format!("pipelineassignment/{pipeline}"),
            "--ignore-not-found",
            "-o",
            &format!("jsonpath={path}"),
        ])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Deletes all Pipelines of a namespace, waits until their workers are gone, and deletes the namespace.
    pub fn delete(&self, namespace: &str) -> Result<()> {
        self.kubernetes.kubectl(&["-n", namespace, "delete", "msp", "--all", "--timeout=60s"])?;
        wait::until_true("the workers to go with their Pipeline", GUARD, || {
            let pods = self.kubernetes.kubectl(&["-n", namespace, "get", "pods", "-o", "name"])?;
            Ok(pods.trim().is_empty())
        })
        .with_context(|| self.kubernetes.describe(namespace))?;
        self.kubernetes.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
    }

    /// Waits for a condition as a user would.
    pub fn wait_for(&self, namespace: &str, pipeline: &str, condition: &str) -> Result<()> {
        let (what, condition) = (format!("msp/{pipeline}"), format!("--for={condition}"));
        let waited = self.kubernetes.kubectl(&["-n", namespace, "wait", &what, &condition, "--timeout=120s"]);
        waited.map(drop).map_err(|error| anyhow::anyhow!("{error:#}\n{}", self.kubernetes.describe(namespace)))
    }
}

/// The images of this checkout's programs, as files.
fn images(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(root().join("scripts/images"));
    // The programs lie where this one was made: in the folder of the profile, or in one within it.
    let own = std::env::current_exe()?;
    let profile = own.ancestors().find(|folder| folder.ends_with("release")).context("no folder of a release build")?;
    let target = profile.parent().context("no target folder")?.to_owned();
    command.args(["--target".as_ref(), target.as_os_str(), directory.as_os_str()]);
    let (output, success) = run(command, "")?;
    ensure!(success, "scripts/images failed: {output}");
    let files = std::fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let images: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "tar")).collect();
    ensure!(images.len() == 2, "scripts/images made {images:?}");
    Ok(images)
}

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
