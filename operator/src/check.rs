//! Whether a Pipeline can be run: its manifest compiles, in a confined child process, and the rest of its spec is what
//! Kubernetes takes.

use millstream_crds::Pipeline;

use crate::build::Owned;
use crate::compile::{CompileError, Compiled, compile};
use crate::context::Context;
use crate::decide::status::Refused;
use crate::decide::support::unsupported;
use crate::memory::Memory;

/// What a Pipeline's objects are built from, or why there are to be none.
pub async fn check(
    pipeline: &Pipeline,
    context: &Context,
    memory: &mut Memory,
) -> Result<Result<Owned, Refused>, CompileError> {
    match unsupported(&pipeline.spec) {
        Some(refused) => Ok(Err(refused)),
        None => compiled(pipeline, context, memory).await,
    }
}

/// The same without looking at what this operator does not carry out. Compiles once for each generation of the spec.
pub async fn compiled(
    pipeline: &Pipeline,
    context: &Context,
    memory: &mut Memory,
) -> Result<Result<Owned, Refused>, CompileError> {
    let owned = match Owned::new(pipeline, &context.workers) {
        Ok(owned) => owned,
        Err(problems) => return Ok(Err(Refused { reason: "InvalidSpec", message: problems.to_string() })),
    };
    let generation = pipeline.metadata.generation.unwrap_or(0);
    let known = memory.compiled.as_ref().filter(|(of, _)| *of == generation).map(|(_, compiled)| compiled.clone());
    let compiled = match known {
        Some(compiled) => compiled,
        None => compile(&context.settings.millstream, owned.manifest()).await?,
    };
    memory.compiled = Some((generation, compiled.clone()));
    Ok(match compiled {
        Compiled::Fine { .. } => Ok(owned),
        Compiled::Wrong { problems } => Err(Refused { reason: "InvalidManifest", message: problems.join("\n") }),
        Compiled::Unbearable { why } => Err(Refused {
            reason: "ManifestTooComplex",
            message: format!("the compiler did not come to an end with this manifest: {why}; make it smaller"),
        }),
    })
}
