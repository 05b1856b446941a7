//! Events: what happened to a Pipeline, for `kubectl describe`.
//!
//! Written one by one and only for changes. The library's recorder joins events of one reason and keeps the first
//! message, which would hide what is new.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};
use millstream_crds::Pipeline;

use crate::api::{ApiServer, Verb};
use crate::build::FIELD_MANAGER;

/// The longest note that the API server takes, in bytes.
const NOTE: usize = 1024;

/// How an event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Happening<'a> {
    /// How it is meant.
    pub kind: Kind,
    /// Why, in one word in CamelCase.
    pub reason: &'a str,
    /// What was done, in one word in CamelCase.
    pub action: &'a str,
    /// All of it, for people.
    pub note: &'a str,
}

/// Writes an event about a Pipeline, in the name of the operator's pod. An event that cannot be written is no reason to
/// stop.
pub async fn publish(server: &ApiServer, pod: &str, pipeline: &Pipeline, happening: Happening<'_>) {
    let Happening { kind, reason, action, note } = happening;
    let namespace = pipeline.namespace().unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta { generate_name: Some(format!("{}-", pipeline.name_any())), ..ObjectMeta::default() },
        action: Some(action.to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(cut(note)),
        reason: Some(reason.to_owned()),
        regarding: Some(pipeline.object_ref(&())),
        reporting_controller: Some(format!("millstream.dev/{FIELD_MANAGER}")),
        reporting_instance: Some(pod.to_owned()),
        type_: Some(format!("{kind:?}")),
        ..Event::default()
    };
    let (api, parameters) = (server.namespaced::<Event>(&namespace), PostParams::default());
    if let Err(error) = server.ask::<Event, _>(Verb::Create, api.create(&parameters, &event)).await {
        tracing::warn!("an event cannot be written: {error}");
    }
}

fn cut(note: &str) -> String {
    let end = (0..=note.len().min(NOTE - 4)).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
    if end == note.len() { note.to_owned() } else { format!("{}…", &note[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(2000);
        let cut = cut(&long);
        assert!(cut.len() <= NOTE && cut.ends_with('…'));
    }
}
