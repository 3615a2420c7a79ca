//! The program `channelstream-server`.

use std::process::ExitCode;

/// Returns memory to the system after a peak, and needs less for each connection than the system's
/// own allocator (figures in docs/benchmarks.md).
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    channelstream_server::program::main()
}
