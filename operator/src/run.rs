//! The operator's life: it takes part in the election, and works while it leads.
//!
//! | task | owner, end |
//! | --- | --- |
//! | pages, reports | [`run`]; the end of the process |
//! | Lease | [`run`]; released at the end |
//! | watches, controllers | [`Lead`]; the loss of the lead, or the end |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, Shared};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use millstream::cluster::WatchBackoff;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::api::{ApiServer, connect};
use crate::backoff::delay;
use crate::build::WorkerSettings;
use crate::certificate::{Certificate, certificate};
use crate::context::Context;
use crate::controller;
use crate::http::{self, Pages};
use crate::leader;
use crate::metrics::Metrics;
use crate::observe::{Guarded, watch};
use crate::reports::Reports;
use crate::reports::server::{self, Reception};
use crate::settings::Settings;

/// Whoever took part for this long has done so well: the next trouble is a new one.
const GOOD_STAND: Duration = Duration::from_secs(30);
/// How long the Lease may take to be released.
const RELEASE: Duration = Duration::from_secs(3);

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<()> {
    let settings = Arc::new(settings);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    work(settings, asked.boxed().shared()).await
}

/// Comes to its end when somebody asks to stop.
type Asked = Shared<BoxFuture<'static, ()>>;

/// What all parts share, and what a new leader begins with.
struct Parts {
    server: ApiServer,
    settings: Arc<Settings>,
    workers: WorkerSettings,
    reports: Arc<Reports>,
    metrics: Arc<Metrics>,
    leads: Arc<AtomicBool>,
}

async fn work(settings: Arc<Settings>, asked: Asked) -> Result<()> {
    let client = connect().await.context("there is no way to the API server")?;
    let metrics = Arc::new(Metrics::new()?);
    let server = ApiServer::new(client, Arc::clone(&metrics));
    let ready = Arc::new(AtomicBool::new(false));
    let mut servers = JoinSet::new();
    let pages = Pages { metrics: Arc::clone(&metrics), ready: Arc::clone(&ready) };
    servers.spawn(http::serve(settings.http, pages));
    let certificate = tokio::select! {
        certificate = obtain_certificate(&server, &settings) => certificate,
        () = asked.clone() => return Ok(()),
    };
    ready.store(true, Ordering::Release);
    let workers = WorkerSettings::new(
        &settings.worker_image,
        settings.worker_image_pull_policy,
        &settings.service_url,
        &certificate.ca,
    )?;
    let (news, heard) = unbounded();
    let (reports, leads) = (Arc::<Reports>::default(), Arc::<AtomicBool>::default());
    let reception = Reception::new(server.clone(), Arc::clone(&reports), Arc::clone(&leads), news);
    let (address, of_server) = (settings.https, certificate.clone());
    servers.spawn(async move { server::serve(address, &of_server, reception).await });
    let parts = Parts { server, settings, workers, reports, metrics, leads };
    tokio::select! {
        result = take_part(&parts, heard, asked.clone()) => result,
        Some(ended) = servers.join_next() => ended?.context("a server has ended"),
    }
}

/// Without a certificate no worker can report: it is waited for.
async fn obtain_certificate(server: &ApiServer, settings: &Settings) -> Certificate {
    let name = format!("{}-tls", settings.lease_name);
    let mut failures = 0;
    loop {
        match certificate(server, &settings.namespace, &name, &settings.service_names).await {
            Ok(certificate) => return certificate,
            Err(error) => {
                failures += 1;
                tracing::warn!("{error}; trying again");
                tokio::time::sleep(delay(failures)).await;
            }
        }
    }
}

/// Takes part in the election until somebody asks to stop. While the API server is away nobody can: a process that
/// ended for that would be started again with ever longer pauses, and still be away when the API server is back.
async fn take_part(parts: &Parts, mut heard: UnboundedReceiver<ObjectRef<Guarded>>, mut asked: Asked) -> Result<()> {
    let mut backoff = WatchBackoff::default();
    loop {
        let since = Instant::now();
        let Err(error) = stand(parts, &mut heard, &mut asked).await else { return Ok(()) };
        if since.elapsed() > GOOD_STAND {
            backoff.reset();
        }
        let wait = backoff.next().unwrap_or_default();
        tracing::warn!("{error:#}; trying again in {wait:.1?}");
        tokio::select! {
            () = &mut asked => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Leads whenever the Lease says so, and gives it back at the end.
async fn stand(parts: &Parts, heard: &mut UnboundedReceiver<ObjectRef<Guarded>>, asked: &mut Asked) -> Result<()> {
    let candidate = leader::candidate(&parts.server, &parts.settings).await.context("the Lease cannot be used")?;
    let (mut lead, task) = candidate.watch().await;
    let mut leading: Option<Lead> = None;
    let mut task = std::pin::pin!(task);
    loop {
        let leads = *lead.borrow_and_update();
        match (leads, &leading) {
            (true, None) => leading = Some(Lead::begin(parts).await),
            (false, Some(_)) => {
                tracing::warn!("another replica leads now");
                leading = None;
            }
            _ => {}
        }
        tokio::select! {
            () = &mut *asked => break,
            changed = lead.changed() => changed.context("the Lease is not looked after any more")?,
            ended = &mut task => {
                ended?.context("the Lease cannot be kept")?;
                anyhow::bail!("the Lease is not looked after any more");
            }
            Some(news) = heard.next() => {
                if let Some(leading) = &leading {
                    leading.pass_on(&news);
                }
            }
        }
    }
    drop((leading, lead));
    // Nobody watches the Lease any more, and so it is released; another replica need not wait for its end.
    let released = tokio::time::timeout(RELEASE, task).await.context("the Lease was not released in time");
    if let Err(error) = released.and_then(|task| Ok(task??)) {
        tracing::warn!("{error:#}; another replica leads when it has run out");
    }
    Ok(())
}

/// Everything that a leader does. Dropping it ends it.
struct Lead {
    leads: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    scopes: Vec<(Option<String>, UnboundedSender<ObjectRef<Guarded>>)>,
    _tasks: JoinSet<()>,
}

impl Lead {
    async fn begin(parts: &Parts) -> Self {
        tracing::info!("this replica leads");
        // What was heard in a former lead is old.
        parts.reports.clear();
        let mut tasks = JoinSet::new();
        let namespaces: Vec<Option<String>> = match parts.settings.watch_namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        let (mut scopes, epoch) = (Vec::new(), Instant::now());
        for namespace in namespaces {
            let (changed, news) = unbounded();
            let stores = watch(&parts.server, namespace.as_deref(), &changed, &mut tasks);
            let context = Context::new(
                parts.server.clone(),
                Arc::clone(&parts.settings),
                parts.workers.clone(),
                stores,
                Arc::clone(&parts.reports),
                Arc::clone(&parts.metrics),
                epoch,
            );
            tasks.spawn(controller::run(Arc::new(context), namespace.clone(), news));
            scopes.push((namespace, changed));
        }
        parts.leads.store(true, Ordering::Release);
        parts.metrics.leads(true);
        if let Err(error) = leader::label(&parts.server, &parts.settings).await {
            tracing::warn!("this pod cannot be labelled as the leader's: {error}; workers may not find it");
        }
        Self { leads: Arc::clone(&parts.leads), metrics: Arc::clone(&parts.metrics), scopes, _tasks: tasks }
    }

    /// Passes on what a report said to whoever looks after the namespace.
    fn pass_on(&self, news: &ObjectRef<Guarded>) {
        let ours = |namespace: &Option<String>| namespace.is_none() || *namespace == news.namespace;
        for (_, scope) in self.scopes.iter().filter(|(namespace, _)| ours(namespace)) {
            drop(scope.unbounded_send(news.clone()));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.leads.store(false, Ordering::Release);
        self.metrics.leads(false);
    }
}
