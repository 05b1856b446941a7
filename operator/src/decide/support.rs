//! What the API has and this operator does not carry out yet. It is refused, not passed over: a Pipeline that seems to do
//! what it does not would be worse.

use millstream_crds::pipeline::PipelineSpec;

use super::status::Refused;

/// Why a spec cannot be carried out as it is written, if that is so.
pub fn unsupported(spec: &PipelineSpec) -> Option<Refused> {
    let mut missing = Vec::new();
    if spec.scaling.is_some() {
        missing.push("scaling: workers do not follow the load yet; give a number by replicas, or `kubectl scale`");
    }
    (!missing.is_empty()).then(|| Refused { reason: "NotSupported", message: missing.join("\n") })
}

#[cfg(test)]
mod tests {
    use millstream_crds::pipeline::Scaling;

    use super::*;

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        assert_eq!(unsupported(&PipelineSpec::default()), None);
        let spec = PipelineSpec { scaling: Some(Scaling::default()), ..PipelineSpec::default() };
        let refused = unsupported(&spec).map(|refused| refused.message).unwrap_or_default();
        assert!(refused.contains("kubectl scale"), "{refused}");
    }
}
