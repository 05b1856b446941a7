//! What the schemas say to people and to the API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::cel::{apply_defaults, compile_schema, estimate_rule_cost};
use millstream_crds::pipeline::{DeletionPolicy, Delivery, ErrorPolicy, Mode, OnDataLoss};
use millstream_crds::{Pipeline, definitions};
use serde_json::{Value, json};

use crate::admission::schema;

/// Every schema below this one, with its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&schema["additionalProperties"], &format!("{path}{{}}"), visit);
    }
}

/// Every CEL rule of a schema.
pub fn rules(schema: &Value) -> Vec<Value> {
    let mut rules = Vec::new();
    walk(schema, "", &mut |_, schema| {
        rules.extend(schema["x-kubernetes-validations"].as_array().into_iter().flatten().cloned());
    });
    rules
}

fn pipeline_definition() -> CustomResourceDefinition {
    definitions().into_iter().find(|definition| definition.spec.names.kind == "Pipeline").unwrap()
}

#[test]
fn every_field_is_described() {
    for kind in ["Pipeline", "PipelineAssignment"] {
        walk(&schema(kind), "", &mut |path, schema| {
            let own = path.is_empty() || path.ends_with("[]") || path.ends_with("{}");
            let described = schema["description"].as_str().is_some_and(|text| text.len() > 3);
            assert!(own || described, "{kind}{path} has no description");
            assert!(schema["description"].as_str().is_none_or(|text| !text.contains("\n ")), "{kind}{path} is folded");
        });
    }
}

#[test]
fn schemas_are_structural() {
    for kind in ["Pipeline", "PipelineAssignment"] {
        walk(&schema(kind), "", &mut |path, schema| {
            let typed = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == json!(true);
            assert!(typed, "{kind}{path} has no type: {schema}");
            assert_ne!(schema["type"], "number", "{kind}{path} is a float");
            for union in ["oneOf", "anyOf", "allOf", "not", "nullable", "$ref"] {
                assert!(schema.get(union).is_none(), "{kind}{path} has {union}");
            }
        });
    }
}

#[test]
fn every_rule_compiles_and_has_a_message_for_people() {
    for kind in ["Pipeline", "PipelineAssignment"] {
        let schema = schema(kind);
        walk(&schema, "", &mut |path, schema| {
            let compiled = compile_schema(schema);
            assert!(compiled.validations.iter().all(Result::is_ok), "{kind}{path}: {:?}", compiled.validations);
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap_or_else(|| panic!("{kind}{path}: {rule} has no message"));
                assert!(message.len() > 10 && !message.contains("self.") && !message.contains('\n'), "{message}");
                let warnings = estimate_rule_cost(rule["rule"].as_str().unwrap(), &compiled);
                assert!(warnings.is_empty(), "{kind}{path}: {warnings:?}");
            }
        });
    }
}

/// The API server's budget for rules follows from these bounds.
#[test]
fn every_list_map_and_own_string_is_bounded() {
    for kind in ["Pipeline", "PipelineAssignment"] {
        walk(&schema(kind)["properties"]["spec"], ".spec", &mut |path, schema| {
            // Kubernetes' own types say what Kubernetes allows, and no rule of ours walks them.
            if path.starts_with(".spec.worker.resources") || path.starts_with(".spec.worker.tolerations[]") {
                return;
            }
            if schema["type"] == "array" {
                assert!(schema["maxItems"].is_u64(), "{kind}{path} has no maxItems");
            }
            if schema["additionalProperties"].is_object() {
                assert!(schema["maxProperties"].is_u64(), "{kind}{path} has no maxProperties");
            }
            let free = schema["type"] == "string" && schema["enum"].is_null() && !path.ends_with("{}");
            assert!(!free || schema["maxLength"].is_u64(), "{kind}{path} has no maxLength");
        });
    }
}

#[test]
fn a_minimal_pipeline_gets_these_defaults() {
    let minimal = json!({
        "apiVersion": "millstream.dev/v1alpha1", "kind": "Pipeline", "metadata": {"name": "minimal"},
        "spec": {
            "connections": [{"kafka": {"bootstrapServers": "kafka:9092"}}],
            "sources": [{"name": "in", "kafka": {"topics": ["in"]}, "format": {"type": "Raw"}}],
            "sinks": [{"name": "out", "kafka": {"topic": "out"}, "format": {"type": "Raw"}}]
        }
    });
    let by_server = apply_defaults(&schema("Pipeline"), &minimal);
    let expected = json!({
        "connections": [{"kafka": {"bootstrapServers": "kafka:9092", "client": "Wire"}}],
        "sources": [{
            "name": "in",
            "kafka": {"topics": ["in"], "startFrom": {"position": "Earliest"}},
            "format": {"type": "Raw"},
            "onDataLoss": "Fail"
        }],
        "sinks": [{"name": "out", "kafka": {"topic": "out", "compression": "None"}, "format": {"type": "Raw"}}],
        "delivery": "ExactlyOnce",
        "checkpoint": {"interval": "500ms"},
        "errors": {"policy": "Fail"},
        "mode": "Streaming",
        "suspend": false,
        "adopt": false,
        "deletionPolicy": "Retain",
        "workerTimeout": "5s"
    });
    assert_eq!(by_server["spec"], expected);

    let by_serde: Pipeline = serde_json::from_value(minimal).unwrap();
    assert_eq!(serde_json::to_value(&by_serde.spec).unwrap(), expected, "serde and the schema agree");
    assert_eq!(by_serde.spec.delivery, Delivery::ExactlyOnce);
    assert_eq!(by_serde.spec.errors.policy, ErrorPolicy::Fail);
    assert_eq!(by_serde.spec.mode, Mode::Streaming);
    assert_eq!(by_serde.spec.deletion_policy, DeletionPolicy::Retain);
    assert_eq!(by_serde.spec.sources[0].on_data_loss, OnDataLoss::Fail);
}

#[test]
fn settings_of_formats_and_scaling_have_these_defaults() {
    let spec = &schema("Pipeline")["properties"]["spec"]["properties"];
    let csv = &spec["sources"]["items"]["properties"]["format"]["properties"]["csv"]["properties"];
    let scaling = &spec["scaling"]["properties"];
    let sasl = &spec["connections"]["items"]["properties"]["kafka"]["properties"]["sasl"]["properties"];
    let cases = [
        (&csv["delimiter"], json!(",")),
        (&csv["quote"], json!("\"")),
        (&csv["nullText"], json!("")),
        (&scaling["minReplicas"], json!(1)),
        (&scaling["targetUtilizationPercent"], json!(70)),
        (&scaling["catchUp"], json!("2m")),
        (&sasl["secretRef"]["properties"]["usernameKey"], json!("username")),
        (&sasl["secretRef"]["properties"]["passwordKey"], json!("password")),
    ];
    for (schema, default) in cases {
        assert_eq!(schema["default"], default, "{schema}");
    }
}

#[test]
fn kubectl_shows_and_scales_a_pipeline() {
    let definition = pipeline_definition();
    let names = &definition.spec.names;
    assert_eq!(names.short_names.as_deref(), Some(&["msp".to_owned()][..]));
    assert_eq!(names.categories.as_deref(), Some(&["millstream".to_owned()][..]));

    let version = &definition.spec.versions[0];
    let columns = version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str());
    assert_eq!(columns.collect::<Vec<_>>(), ["READY", "REPLICAS", "LAG", "RATE", "AGE"]);

    let subresources = version.subresources.as_ref().unwrap();
    let scale = subresources.scale.as_ref().unwrap();
    assert!(subresources.status.is_some());
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
    assert_eq!(Pipeline::crd_name(), "pipelines.millstream.dev");
}
