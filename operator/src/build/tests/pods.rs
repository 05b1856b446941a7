//! What the pods of every Pipeline keep to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::super::{deployment, role};
use super::fixtures;

fn pod(manifest: Value) -> PodSpec {
    deployment(&fixtures::owned(manifest), 1).spec.unwrap().template.spec.unwrap()
}

fn container(pod: &PodSpec) -> &Container {
    let [container] = &pod.containers[..] else { unreachable!("one container") };
    container
}

/// The controls of the Pod Security Standard "restricted", as far as they concern what is there.
#[test]
fn pods_are_restricted() {
    for manifest in [fixtures::minimal(), fixtures::full()] {
        let pod = pod(manifest);
        assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
        let security = pod.security_context.clone().unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        assert_eq!((security.run_as_user, security.sysctls), (None, None));

        let security = container(&pod).security_context.clone().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!((security.privileged, security.proc_mount, security.run_as_user), (None, None, None));
        let capabilities = security.capabilities.unwrap();
        assert_eq!((capabilities.drop, capabilities.add), (Some(vec!["ALL".into()]), None));
        assert!(container(&pod).ports.iter().flatten().all(|port| port.host_port.is_none()));

        for volume in pod.volumes.iter().flatten() {
            let kinds = [volume.config_map.is_some(), volume.secret.is_some(), volume.projected.is_some()];
            assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1, "{}", volume.name);
        }
    }
}

#[test]
fn pods_write_nothing() {
    let pod = pod(fixtures::full());
    assert_eq!(container(&pod).security_context.as_ref().unwrap().read_only_root_filesystem, Some(true));
    assert!(container(&pod).volume_mounts.iter().flatten().all(|mount| mount.read_only == Some(true)));
}

#[test]
fn every_mount_has_its_volume_and_every_secret_its_folder() {
    let pod = pod(fixtures::full());
    let volumes: BTreeMap<_, _> = pod.volumes.iter().flatten().map(|volume| (volume.name.as_str(), volume)).collect();
    let mounts = container(&pod).volume_mounts.as_ref().unwrap();
    assert_eq!(volumes.len(), mounts.len());
    let secrets: Vec<_> = mounts
        .iter()
        .filter_map(|mount| Some((volumes[mount.name.as_str()].secret.as_ref()?, mount.mount_path.as_str())))
        .map(|(secret, folder)| (secret.secret_name.as_deref().unwrap(), secret.optional, folder))
        .collect();
    let expected = [
        ("cluster-ca", Some(true), "/etc/millstream/secrets/cluster-ca"),
        ("kafka.user", Some(true), "/etc/millstream/secrets/kafka.user"),
        ("user-cert", Some(true), "/etc/millstream/secrets/user-cert"),
    ];
    assert_eq!(secrets, expected);
}

#[test]
fn a_worker_has_time_for_two_checkpoints_before_it_is_killed() {
    for (interval, seconds) in [("10ms", 30), ("500ms", 30), ("5s", 30), ("5001ms", 31), ("30s", 80), ("5m", 620)] {
        let mut manifest = fixtures::minimal();
        manifest["spec"]["checkpoint"] = json!({"interval": interval});
        let pod = pod(manifest);
        assert_eq!(pod.termination_grace_period_seconds, Some(seconds), "{interval}");
        assert!(container(&pod).args.as_ref().unwrap().contains(&format!("--grace={seconds}")), "{interval}");
    }
}

#[test]
fn the_labels_of_the_operator_stand() {
    let owned = fixtures::owned(fixtures::full());
    let labels = deployment(&owned, 1).spec.unwrap().template.metadata.unwrap().labels.unwrap();
    let of = |key: &str| labels[key].clone();
    assert_eq!((of("team"), of("millstream.dev/revision")), ("plant".into(), owned.revision().to_string()));
    assert_eq!(of("millstream.dev/pipeline"), owned.name());
}

#[test]
fn workers_may_read_their_own_assignment_and_nothing_else() {
    let [rule] = &role(&fixtures::owned(fixtures::minimal())).rules.unwrap()[..] else { unreachable!("one rule") };
    assert_eq!(rule.resource_names.as_deref(), Some(&["upper-case".to_owned()][..]));
    assert_eq!(rule.resources.as_deref(), Some(&["pipelineassignments".to_owned()][..]));
    assert_eq!(rule.verbs, ["get", "list", "watch"]);
}
