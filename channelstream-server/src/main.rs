//! The program `channelstream-server`.

use std::process::ExitCode;

/// Gives memory back to the system after a peak, and takes less for each connection than the system's
/// own (figures in docs/benchmarks.md).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    channelstream_server::program::main()
}
