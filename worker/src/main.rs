//! The program `millstream`. Everything it does is in the library's `cli`.

use std::process::ExitCode;

/// Batches of many small buffers come and go between threads; mimalloc keeps them cheap, and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millstream::cli::main()
}
