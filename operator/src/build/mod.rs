//! The Kubernetes objects that a Pipeline owns, a kind a file. Pure: nothing here asks the cluster.
//!
//! ```text
//! Pipeline + WorkerSettings ─ Owned::new ─► Owned ─ one function a kind ─► objects to apply
//! ```
//!
//! Whatever could be refused is refused by [`Owned::new`], with every problem at once and each at its field; after it
//! building cannot fail. The objects depend on nothing but these two values and the number of replicas, so that
//! applying them again changes nothing.
//!
//! | object | name | lives as long as |
//! | --- | --- | --- |
//! | Deployment, `ConfigMap` | `<pipeline>-<revision>` | the revision |
//! | `PipelineAssignment`, `PodDisruptionBudget` | `<pipeline>` | the Pipeline |
//! | `ServiceAccount`, Role, `RoleBinding` | `<pipeline>-worker` | the Pipeline |
//! | Service | `<pipeline>-metrics` | the Pipeline |
//!
//! All of them are controlled by the Pipeline, so that Kubernetes removes them with it, and bear the labels of
//! [`labels::common`].

mod canonical;
pub mod duration;
mod quantity;
mod resources;
mod syntax;
mod template;

pub mod assignment;
pub mod config_map;
pub mod deployment;
pub mod input;
pub mod labels;
mod metadata;
pub mod names;
pub mod pod;
pub mod pod_disruption_budget;
pub mod problems;
pub mod revision;
pub mod role;
pub mod role_binding;
pub mod service;
pub mod service_account;
pub mod settings;
#[cfg(test)]
mod tests;

pub use self::assignment::assignment;
pub use self::config_map::config_map;
pub use self::deployment::deployment;
pub use self::input::{InputError, Owned};
pub use self::pod_disruption_budget::pod_disruption_budget;
pub use self::problems::Problems;
pub use self::revision::Revision;
pub use self::role::role;
pub use self::role_binding::role_binding;
pub use self::service::service;
pub use self::service_account::service_account;
pub use self::settings::{PullPolicy, SettingsError, WorkerSettings};

/// Who applies these objects, in the words of server-side apply.
pub const FIELD_MANAGER: &str = "millstream-operator";
