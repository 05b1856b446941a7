//! CPU and memory of a worker: what the user asks for, and what is asked for without that.
//!
//! There is always a limit of memory, since a worker's buffers are sized by it, and none of CPU, since a worker that is
//! held back is a pause.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::input::InputError;
use super::quantity;

const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "64Mi")];
const MEMORY: &str = "memory";
const MEMORY_LIMIT: &str = "512Mi";

type Amounts = BTreeMap<String, Quantity>;

/// What a worker requests and is limited to; what is wrong goes to `problems`.
pub(super) fn of_worker(given: Option<&ResourceRequirements>, problems: &mut Vec<InputError>) -> ResourceRequirements {
    let given = given.cloned().unwrap_or_default();
    let (mut requests, mut limits) = (given.requests.unwrap_or_default(), given.limits.unwrap_or_default());
    check_amounts("spec.worker.resources.requests", &requests, problems);
    check_amounts("spec.worker.resources.limits", &limits, problems);
    if given.claims.is_some_and(|claims| !claims.is_empty()) {
        problems.push(InputError::Claims);
    }
    limits.entry(MEMORY.to_owned()).or_insert_with(|| greater(MEMORY_LIMIT, requests.get(MEMORY)));
    for (resource, amount) in REQUESTS {
        requests.entry(resource.to_owned()).or_insert_with(|| smaller(amount, limits.get(resource)));
    }
    check_requests(&requests, &limits, problems);
    ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: None }
}

fn check_amounts(field: &'static str, amounts: &Amounts, problems: &mut Vec<InputError>) {
    let bad = amounts.iter().filter(|(_, amount)| quantity::parse(&amount.0).is_none());
    problems.extend(bad.map(|(resource, amount)| InputError::Amount {
        field,
        resource: resource.clone(),
        text: amount.0.clone(),
    }));
}

/// Amounts that are none were reported already.
fn check_requests(requests: &Amounts, limits: &Amounts, problems: &mut Vec<InputError>) {
    for (resource, request) in requests {
        let Some(limit) = limits.get(resource) else { continue };
        if is_greater(&request.0, &limit.0) {
            let (request, limit) = (request.0.clone(), limit.0.clone());
            problems.push(InputError::AboveLimit { resource: resource.clone(), request, limit });
        }
    }
}

fn greater(default: &str, other: Option<&Quantity>) -> Quantity {
    other.filter(|other| is_greater(&other.0, default)).cloned().unwrap_or_else(|| Quantity(default.to_owned()))
}

fn smaller(default: &str, other: Option<&Quantity>) -> Quantity {
    other.filter(|other| is_greater(default, &other.0)).cloned().unwrap_or_else(|| Quantity(default.to_owned()))
}

fn is_greater(one: &str, other: &str) -> bool {
    quantity::parse(one).zip(quantity::parse(other)).is_some_and(|(one, other)| one > other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn of(given: Value) -> (Value, Vec<String>) {
        let mut problems = Vec::new();
        let resources = of_worker(Some(&serde_json::from_value(given).unwrap()), &mut problems);
        (serde_json::to_value(resources).unwrap(), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_not_said_is_completed_so_that_requests_stay_within_limits() {
        let cases = [
            (json!({}), json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}})),
            (
                json!({"limits": {"memory": "32Mi", "cpu": "50m"}}),
                json!({"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "32Mi", "cpu": "50m"}}),
            ),
            (
                json!({"requests": {"memory": "1Gi"}}),
                json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}),
            ),
            (
                json!({"requests": {"cpu": "2"}, "limits": {"memory": "2Gi", "example.com/gpu": "1"}}),
                json!({
                    "requests": {"cpu": "2", "memory": "64Mi"},
                    "limits": {"memory": "2Gi", "example.com/gpu": "1"},
                }),
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(of(given), (expected, Vec::new()));
        }
    }

    #[test]
    fn amounts_that_cannot_be_are_named() {
        let cases = [
            (json!({"requests": {"cpu": "one"}}), "spec.worker.resources.requests.cpu: `one` is not an amount"),
            (json!({"limits": {"memory": "-1"}}), "spec.worker.resources.limits.memory: `-1` is not an amount"),
            (
                json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}),
                "the request of 2Gi of memory is greater than the limit of 1Gi",
            ),
            (json!({"claims": [{"name": "gpu"}]}), "workers have no resource claims"),
        ];
        for (given, expected) in cases {
            let (_, problems) = of(given);
            let [problem] = &problems[..] else { unreachable!("{problems:?}") };
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
