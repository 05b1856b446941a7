//! The manifests to install: what the derive makes of the types, tidied for people and for kubectl.
//!
//! Three things are changed. Nothing is `nullable`, as in Go's API types: an explicit `null` is then dropped where there
//! is a default and refused where there is none, and CEL rules need to know only `has(…)`. Descriptions lose the
//! line breaks of the source, which `kubectl explain` would otherwise keep. And there are no titles, which would be
//! the names of Rust's types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{Pipeline, PipelineAssignment};

/// Every `CustomResourceDefinition` of Millstream, as it stands in `crds/manifests/`.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![tidy(Pipeline::crd()), tidy(PipelineAssignment::crd())]
}

fn tidy(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas = definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|validation| validation.open_api_v3_schema.as_mut()) {
        tidy_schema(schema);
    }
    definition
}

fn tidy_schema(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if let Some(description) = &mut schema.description {
        *description = unfold(description);
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy_schema(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy_schema(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy_schema),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy_schema(values);
    }
}

/// Joins the lines of each paragraph.
fn unfold(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
