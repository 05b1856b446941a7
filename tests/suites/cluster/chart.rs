//! The chart in all variants: each value that switches something is set in one of them, passes `helm lint`, and is taken
//! by the API server as it is rendered; values that are wrong are refused by name; and a release with everything switched
//! on can be installed beside the site's own, and leaves what `docs/helm.md` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use millstream_tests::site::{Site, root};
use millstream_tests::wait;
use serde_json::{Value, json};

use super::GUARD;

/// Where the releases of this test are; and the namespaces that they look after.
const NAMESPACE: &str = "chart";
const WATCHED: [&str; 2] = ["chart-one", "chart-two"];
/// The release; it is not called like the chart, so that names are made of both.
const RELEASE: &str = "variant";
const NAME: &str = "variant-millstream";

/// Values, and what is rendered by them.
struct Variant {
    name: &'static str,
    values: Value,
    /// Texts that are there.
    has: &'static [&'static str],
    /// Texts that are not.
    lacks: &'static [&'static str],
}

fn variant(name: &'static str, values: Value, has: &'static [&'static str], lacks: &'static [&'static str]) -> Variant {
    Variant { name, values, has, lacks }
}

fn variants() -> Vec<Variant> {
    [scope(), objects(), images(), pods()].into_iter().flatten().collect()
}

fn scope() -> Vec<Variant> {
    vec![
        variant(
            "as it is",
            json!({}),
            &["replicas: 2\n", "kind: CustomResourceDefinition", "kind: PodDisruptionBudget", "aggregate-to-view"],
            &["kind: NetworkPolicy", "kind: ServiceMonitor", "--watch-namespace"],
        ),
        variant(
            "some namespaces",
            json!({"watchNamespaces": WATCHED}),
            &["--watch-namespace=chart-one", "--watch-namespace=chart-two", "  namespace: chart-two\n"],
            &[],
        ),
        variant("without the API", json!({"crds": {"install": false}}), &[], &["kind: CustomResourceDefinition"]),
        variant("without rights of users", json!({"rbac": {"aggregate": false}}), &[], &["aggregate-to-view"]),
        variant(
            "another name",
            json!({"nameOverride": "streams"}),
            &["name: variant-streams\n", "--lease-name=variant-streams", "https://variant-streams.chart.svc:8443"],
            &["name: variant-millstream\n"],
        ),
        variant(
            "a name of one's own",
            json!({"fullnameOverride": "a-name-as-long-as-names-of-the-chart-may-be-at-the-most"}),
            &["name: a-name-as-long-as-names-of-the-chart-may-be-at-the-most-metrics\n"],
            &["name: variant"],
        ),
    ]
}

fn objects() -> Vec<Variant> {
    let peers = json!([
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}, "podSelector": {}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    ]);
    vec![
        variant("one replica", json!({"replicas": 1}), &["replicas: 1\n"], &["kind: PodDisruptionBudget"]),
        variant("no replica", json!({"replicas": 0}), &["replicas: 0\n"], &["kind: PodDisruptionBudget"]),
        variant(
            "without a budget",
            json!({"replicas": 3, "podDisruptionBudget": {"enabled": false}}),
            &["replicas: 3\n"],
            &["kind: PodDisruptionBudget"],
        ),
        variant(
            "network policies",
            json!({"networkPolicy": {"enabled": true}}),
            &["kind: NetworkPolicy", "namespaceSelector:\n        {}"],
            &["name: variant-millstream-workers"],
        ),
        variant(
            "network policies for some",
            json!({"watchNamespaces": WATCHED, "networkPolicy": {"enabled": true, "metricsFrom": peers}}),
            &["name: variant-millstream-workers", "cidr: 10.0.0.0/8", "- chart-one\n"],
            &[],
        ),
        variant(
            "monitors",
            json!({"monitoring": {"enabled": true}}),
            &["kind: ServiceMonitor", "kind: PodMonitor", "any: true", "interval: 15s"],
            &[],
        ),
        variant(
            "monitors for some",
            json!({
                "watchNamespaces": WATCHED,
                "monitoring": {"enabled": true, "interval": "1m30s", "labels": {"release": "prometheus"}},
            }),
            &["matchNames:\n      - chart-one\n", "interval: 1m30s", "release: prometheus"],
            &["any: true"],
        ),
        variant(
            "an identity at the cloud",
            json!({"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/millstream"}}}),
            &["eks.amazonaws.com/role-arn: arn:aws:iam::1:role/millstream"],
            &[],
        ),
    ]
}

fn images() -> Vec<Variant> {
    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let registry = |name: &str| format!("registry.example.com:5000/streams/{name}");
    vec![
        variant(
            "a private registry",
            json!({
                "image": {
                    "repository": registry("operator"), "tag": "1.2.3", "pullPolicy": "Always",
                    "pullSecrets": [{"name": "registry"}, {"name": "mirror"}],
                },
                "worker": {"image": {"repository": registry("worker"), "tag": "1.2.4", "pullPolicy": "Never"}},
            }),
            &[
                "image: \"registry.example.com:5000/streams/operator:1.2.3\"",
                "imagePullPolicy: Always",
                "imagePullSecrets:\n        - name: registry\n        - name: mirror\n",
                "--worker-image=registry.example.com:5000/streams/worker:1.2.4",
                "--worker-image-pull-policy=Never",
            ],
            &[],
        ),
        variant(
            "pinned images",
            json!({"image": {"tag": "1.2.3", "digest": DIGEST}, "worker": {"image": {"tag": "1.2.3", "digest": DIGEST}}}),
            &["image: \"millstream-operator@sha256:0123", "--worker-image=millstream@sha256:0123"],
            &["1.2.3"],
        ),
    ]
}

fn pods() -> Vec<Variant> {
    let expression = json!({"key": "disk", "operator": "In", "values": ["fast"]});
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
    vec![
        variant(
            "a talkative one",
            json!({"log": "millstream_operator=debug,info"}),
            &["\"millstream_operator=debug,info\""],
            &[],
        ),
        variant(
            "other resources",
            json!({"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "3Gi"}}}),
            &["cpu: 1\n", "memory: 3Gi"],
            &["2560Mi"],
        ),
        variant(
            "labelled pods",
            json!({
                "podLabels": {"team": "streams", "app.kubernetes.io/name": "mine"},
                "podAnnotations": {"example.com/contact": "streams@example.com"},
            }),
            &["team: streams", "example.com/contact: streams@example.com"],
            // What the Deployment selects its pods by is not theirs to change.
            &["name: mine"],
        ),
        variant(
            "nodes of its own",
            json!({
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [
                    {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30},
                    {"key": "dedicated", "operator": "Equal", "value": "streams", "effect": "NoSchedule"},
                ],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
                "priorityClassName": "system-cluster-critical",
            }),
            &[
                "kubernetes.io/os: linux",
                "value: streams",
                "nodeAffinity:",
                "priorityClassName: system-cluster-critical",
            ],
            &["topologySpreadConstraints"],
        ),
    ]
}

/// Values that are wrong, and the words by which they are refused.
fn wrong() -> Vec<(Value, &'static str)> {
    let digest = |text: &str| json!({"image": {"digest": text}});
    vec![
        (json!({"replica": 3}), "additional properties 'replica' not allowed"),
        (json!({"replicas": "two"}), "at '/replicas': got string, want integer"),
        (json!({"replicas": -1}), "at '/replicas': minimum: got -1, want 0"),
        (json!({"replicas": 11}), "at '/replicas': maximum: got 11, want 10"),
        (json!({"replicas": 1.5}), "at '/replicas': got number, want integer"),
        (json!({"image": "millstream-operator:1.2.3"}), "at '/image': got string, want object"),
        (json!({"image": {"name": "x"}}), "at '/image': additional properties 'name' not allowed"),
        (json!({"image": {"repository": ""}}), "at '/image/repository'"),
        (json!({"image": {"tag": "a b"}}), "at '/image/tag': 'a b' does not match pattern"),
        (json!({"image": {"tag": 1.2}}), "at '/image/tag': got number, want string"),
        (digest("0123"), "at '/image/digest': '0123' does not match pattern"),
        (digest("sha256:0123"), "at '/image/digest': 'sha256:0123' does not match pattern"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "must be one of 'Always', 'IfNotPresent', 'Never'"),
        (json!({"image": {"pullSecrets": ["registry"]}}), "at '/image/pullSecrets/0': got string, want object"),
        (json!({"worker": {"replicas": 3}}), "at '/worker': additional properties 'replicas' not allowed"),
        (json!({"worker": {"image": {"pullSecrets": []}}}), "additional properties 'pullSecrets' not allowed"),
        (json!({"watchNamespaces": "shop"}), "at '/watchNamespaces': got string, want array"),
        (json!({"watchNamespaces": ["Shop"]}), "at '/watchNamespaces/0': 'Shop' does not match pattern"),
        (json!({"watchNamespaces": ["shop", "shop"]}), "at '/watchNamespaces': items at 0 and 1 are equal"),
        (json!({"crds": {"install": "yes"}}), "at '/crds/install': got string, want boolean"),
        (json!({"rbac": {"create": false}}), "at '/rbac': additional properties 'create' not allowed"),
        (json!({"serviceAccount": {"name": "mine"}}), "additional properties 'name' not allowed"),
        (json!({"log": ""}), "at '/log': minLength: got 0, want 1"),
        (json!({"resources": {"limit": {}}}), "at '/resources': additional properties 'limit' not allowed"),
        (json!({"podLabels": {"a": 1}}), "at '/podLabels/a': got number, want string"),
        (json!({"nodeSelector": ["linux"]}), "at '/nodeSelector': got array, want object"),
        (json!({"tolerations": [{"operator": "Sometimes"}]}), "at '/tolerations/0/operator'"),
        (json!({"tolerations": [{"effect": "Never"}]}), "at '/tolerations/0/effect'"),
        (json!({"affinity": {"nodeaffinity": {}}}), "additional properties 'nodeaffinity' not allowed"),
        (json!({"podDisruptionBudget": {"minAvailable": 1}}), "additional properties 'minAvailable' not allowed"),
        (json!({"networkPolicy": {"metricsFrom": [{}]}}), "at '/networkPolicy/metricsFrom/0': minProperties"),
        (
            json!({"networkPolicy": {"metricsFrom": [{"cidr": "10.0.0.0/8"}]}}),
            "additional properties 'cidr' not allowed",
        ),
        (json!({"monitoring": {"interval": "soon"}}), "at '/monitoring/interval': 'soon' does not match pattern"),
        (json!({"monitoring": {"interval": 15}}), "at '/monitoring/interval': got number, want string"),
        (json!({"nameOverride": "Streams"}), "at '/nameOverride': 'Streams' does not match pattern"),
        (json!({"fullnameOverride": "n".repeat(56)}), "at '/fullnameOverride': maxLength: got 56, want 55"),
    ]
}

/// The API of the Prometheus operator, as far as the chart uses it: with it, a field that is spelled wrong is refused.
const MONITORS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors, singular: servicemonitor}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [endpoints, selector]
            properties:
              selector: {type: object, properties: {matchLabels: {type: object, additionalProperties: {type: string}}}}
              endpoints:
                type: array
                items: {type: object, properties: {port: {type: string}, path: {type: string}, interval: {type: string}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: PodMonitor, plural: podmonitors, singular: podmonitor}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [podMetricsEndpoints, selector]
            properties:
              selector: {type: object, properties: {matchLabels: {type: object, additionalProperties: {type: string}}}}
              namespaceSelector:
                type: object
                properties: {any: {type: boolean}, matchNames: {type: array, items: {type: string}}}
              podMetricsEndpoints:
                type: array
                items: {type: object, properties: {port: {type: string}, path: {type: string}, interval: {type: string}}}
";

/// A chart and a folder for its values.
struct Chart<'a> {
    site: &'a Site,
    folder: tempfile::TempDir,
}

impl Chart<'_> {
    fn path() -> String {
        root().join("charts/millstream").display().to_string()
    }

    /// The values as a file: JSON is YAML, too.
    fn values(&self, values: &Value) -> Result<PathBuf> {
        let path = self.folder.path().join("values.yaml");
        fs::write(&path, values.to_string())?;
        Ok(path)
    }

    /// Runs `helm COMMAND… CHART --namespace … --values …`.
    fn helm(&self, command: &[&str], values: &Value, more: &[&str]) -> Result<String> {
        let (chart, values) = (Self::path(), self.values(values)?.display().to_string());
        let mut all = command.to_vec();
        all.extend([chart.as_str(), "--namespace", NAMESPACE, "--values", values.as_str()]);
        all.extend(more);
        self.site.kubernetes.helm(&all)
    }

    fn render(&self, values: &Value) -> Result<String> {
        self.helm(&["template", RELEASE], values, &[])
    }

    fn check(&self, variant: &Variant) -> Result<()> {
        self.helm(&["lint", "--strict"], &variant.values, &[])?;
        let rendered = self.render(&variant.values)?;
        for text in variant.has {
            ensure!(rendered.contains(text), "there is no `{text}` in\n{rendered}");
        }
        for text in variant.lacks {
            ensure!(!rendered.contains(text), "there is `{text}` in\n{rendered}");
        }
        // Unknown fields are errors there.
        self.site.kubernetes.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &rendered).map(drop)
    }

    fn is_refused(&self, values: &Value, words: &str) -> Result<()> {
        let Err(error) = self.render(values) else { bail!("it is rendered") };
        let said = format!("{error:#}");
        ensure!(said.contains(words), "no `{words}` in: {said}");
        Ok(())
    }

    /// Everything switched on at once, in namespaces of its own, beside the site's release that has installed the API.
    fn install_and_uninstall(&self) -> Result<()> {
        let values = json!({
            "watchNamespaces": WATCHED,
            "crds": {"install": false},
            "image": {"pullPolicy": "Never"},
            "worker": {"image": {"pullPolicy": "Never"}},
            "networkPolicy": {"enabled": true},
            "monitoring": {"enabled": true, "labels": {"release": "prometheus"}},
            "podLabels": {"team": "streams"},
        });
        let before = self.inventory()?;
        let said = self.helm(&["install", RELEASE], &values, &["--wait", "--timeout", "5m"])?;
        ensure!(said.contains("runs the Pipelines of the namespaces chart-one, chart-two."), "{said}");
        let made: BTreeSet<String> = self.inventory()?.difference(&before).cloned().collect();
        for object in MADE {
            let object = object.replace("NAME", NAME);
            ensure!(made.contains(&object), "there is no {object} among {made:?}");
        }
        self.site.kubernetes.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"])?;
        let expected: BTreeSet<String> = LEFT.iter().map(|object| object.replace("NAME", NAME)).collect();
        let mut left = BTreeSet::new();
        wait::until_true("the release's objects to go", GUARD, || {
            left = self.inventory()?.difference(&before).cloned().collect();
            Ok(left == expected)
        })
        .with_context(|| format!("left is {left:?}, expected {expected:?}"))
    }

    /// Everything there is but events: in the cluster's own scope, and in the namespaces of this test.
    fn inventory(&self) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        let kinds = |namespaced: &str| -> Result<String> {
            let arguments = ["api-resources", namespaced, "--verbs=list", "-o", "name"];
            let kinds = self.site.kubernetes.kubectl(&arguments)?;
            Ok(kinds.lines().filter(|kind| !kind.starts_with("events")).collect::<Vec<_>>().join(","))
        };
        let own = self.site.kubernetes.kubectl(&["get", &kinds("--namespaced=false")?, "-o", "name"])?;
        all.extend(own.lines().map(str::to_owned));
        let kinds = kinds("--namespaced=true")?;
        for namespace in [NAMESPACE].iter().chain(&WATCHED) {
            let objects = self.site.kubernetes.kubectl(&["-n", namespace, "get", &kinds, "-o", "name"])?;
            all.extend(objects.lines().map(|object| format!("{namespace}: {object}")));
        }
        Ok(all)
    }
}

/// What an installation makes, among other things.
const MADE: &[&str] = &[
    "clusterrole.rbac.authorization.k8s.io/NAME",
    "clusterrole.rbac.authorization.k8s.io/NAME-edit",
    "chart: deployment.apps/NAME",
    "chart: poddisruptionbudget.policy/NAME",
    "chart: networkpolicy.networking.k8s.io/NAME",
    "chart: servicemonitor.monitoring.coreos.com/NAME",
    "chart: podmonitor.monitoring.coreos.com/NAME-workers",
    "chart-one: role.rbac.authorization.k8s.io/NAME",
    "chart-two: networkpolicy.networking.k8s.io/NAME-workers",
];
/// What it leaves, as `docs/helm.md` says.
const LEFT: &[&str] = &["chart: lease.coordination.k8s.io/NAME", "chart: secret/NAME-tls"];

/// Every value of the chart is set by a variant: a new one needs one.
fn every_value_is_set(variants: &[Variant]) -> Result<()> {
    let text = fs::read_to_string(Path::new(&Chart::path()).join("values.yaml"))?;
    let pointers = pointers(&text);
    ensure!(pointers.len() > 20, "values.yaml is not understood: {pointers:?}");
    for pointer in pointers {
        let set = variants.iter().any(|variant| variant.values.pointer(&pointer).is_some());
        ensure!(set, "no variant sets {pointer} of values.yaml");
    }
    Ok(())
}

/// The JSON pointers of all values of a YAML file with an indentation of two that are no mappings.
fn pointers(text: &str) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let Some((name, value)) = line.split_once(':') else { continue };
        path.truncate((name.len() - name.trim_start().len()) / 2);
        path.push(name.trim_start());
        if !value.trim().is_empty() {
            found.push(format!("/{}", path.join("/")));
        }
    }
    found
}

/// Lints, renders and dry-runs all variants, refuses what is wrong, and installs one beside the site's own release.
pub fn the_chart_in_all_variants(site: &Site) -> Result<()> {
    let (chart, variants) = (Chart { site, folder: tempfile::tempdir()? }, variants());
    every_value_is_set(&variants)?;
    for (values, words) in wrong() {
        chart.is_refused(&values, words).with_context(|| values.to_string())?;
    }
    for namespace in [NAMESPACE].iter().chain(&WATCHED) {
        site.namespace(namespace)?;
    }
    site.kubernetes.kubectl_with(&["apply", "-f", "-"], MONITORS)?;
    let monitors = ["crd/servicemonitors.monitoring.coreos.com", "crd/podmonitors.monitoring.coreos.com"];
    site.kubernetes.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", monitors[0], monitors[1]])?;
    for variant in &variants {
        chart.check(variant).with_context(|| variant.name)?;
    }
    chart.install_and_uninstall().with_context(|| site.kubernetes.describe(NAMESPACE))?;
    site.kubernetes.kubectl(&["delete", "--wait=false", monitors[0], monitors[1]])?;
    let namespaces = [NAMESPACE].into_iter().chain(WATCHED).collect::<Vec<_>>();
    site.kubernetes.kubectl(&[&["delete", "namespace", "--wait=false"], &namespaces[..]].concat()).map(drop)
}
