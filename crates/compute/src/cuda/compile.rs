//! Kernels compiled at first use by NVRTC, NVIDIA's compiler as a library, and kept on disk.
//!
//! What is kept is machine code for one architecture, under a name made of the source, the compiler's version and the
//! architecture: no driver is too old for it that knows the GPU, and a changed kernel is never mistaken for the old
//! one.

use super::kernels;
use cudarc::nvrtc::{result, sys};
use std::ffi::CString;
use std::path::Path;
use std::{fs, io};

/// Why the kernels are not there.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The library is not there.
    #[error("NVIDIA's run-time compiler (libnvrtc) was not found")]
    Missing,
    /// The compiler refused, in its words.
    #[error("the kernels were not compiled for {architecture}: {log}")]
    Refused {
        /// Such as `sm_90`.
        architecture: String,
        /// What the compiler wrote.
        log: String,
    },
}

/// Whether the compiler can be loaded.
pub(super) fn is_present() -> bool {
    // SAFETY: loads the library, which runs its initialisers; NVIDIA's are trusted.
    unsafe { sys::is_culib_present() }
}

/// The compiler's version.
pub(super) fn version() -> Option<(i32, i32)> {
    let (mut major, mut minor) = (0, 0);
    if !is_present() {
        return None;
    }
    // SAFETY: both places are valid for writing.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result().ok()?;
    Some((major, minor))
}

/// Machine code of all kernels for an architecture such as `sm_90`: from `folder`, or compiled and then kept there. A
/// disk that cannot be written to costs time and nothing else.
pub(super) fn machine_code(architecture: &str, folder: Option<&Path>) -> Result<Vec<u8>, CompileError> {
    let Some(version) = version() else { return Err(CompileError::Missing) };
    let source = kernels::source();
    let retained = folder.map(|folder| folder.join(name(&source, version, architecture)));
    if let Some(code) = retained.as_deref().and_then(|path| fs::read(path).ok()) {
        return Ok(code);
    }
    let code = compile(&source, architecture)?;
    if let Some(path) = retained {
        let _ = keep(&path, &code);
    }
    Ok(code)
}

fn name(source: &str, (major, minor): (i32, i32), architecture: &str) -> String {
    format!("{:016x}-nvrtc{major}.{minor}-{architecture}.cubin", fingerprint(source))
}

/// FNV-1a: for a name, no secret, and the same in every build.
pub(super) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Written beside and then renamed: another process reads all of it or nothing.
pub(super) fn keep(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

fn compile(source: &str, architecture: &str) -> Result<Vec<u8>, CompileError> {
    compile_with(source, architecture, None).map(|(code, _)| code)
}

/// Machine code, and what the compiler wrote; with one more option.
fn compile_with(source: &str, architecture: &str, option: Option<&str>) -> Result<(Vec<u8>, String), CompileError> {
    let refused = |log: String| CompileError::Refused { architecture: architecture.to_owned(), log };
    let text = CString::new(source).map_err(|error| refused(error.to_string()))?;
    let program = result::create_program(&text, Some(c"aquatint.cu")).map_err(|error| refused(error.to_string()))?;
    let mut options = vec![format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()];
    options.extend(option.map(str::to_owned));
    // SAFETY: the program was made above, `text` outlives it, and it is destroyed once, below.
    let compiled = unsafe { result::compile_program(program, &options) };
    // SAFETY: the program is there, compiled or not.
    let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
    let log: Vec<u8> = log.into_iter().map(|c| c as u8).filter(|&c| c != 0).collect();
    let log = String::from_utf8_lossy(&log).trim_end().to_owned();
    let code = match compiled {
        Ok(()) => {
            let mut bytes = 0;
            // SAFETY: the program is compiled; the place is valid for writing.
            let sized = unsafe { sys::nvrtcGetCUBINSize(program, &mut bytes) }.result();
            let mut code = vec![0_u8; bytes];
            // SAFETY: `code` has the requested size.
            let got = sized.and_then(|()| unsafe { sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) }.result());
            got.map(|()| (code, log)).map_err(|error| refused(error.to_string()))
        }
        Err(error) => Err(refused(format!("{error}\n{log}"))),
    };
    // SAFETY: made above and not used again. That it is gone is not worth failing for.
    let _ = unsafe { result::destroy_program(program) };
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::emulator::MOST_SHARED;
    use crate::cuda::nvidia::SHARED;
    use std::collections::HashMap;

    /// What a kernel takes, as the assembler reports it.
    #[derive(Debug, Default)]
    struct Needs {
        /// Of each thread.
        registers: usize,
        /// Bytes that each thread writes to memory and reads back because registers are missing.
        spilled: usize,
        /// Bytes of shared memory of each block, beside what a launch asks for.
        shared: usize,
    }

    /// Of each kernel, from the log of a compilation that reports them.
    fn needs(log: &str) -> HashMap<&str, Needs> {
        let before = |line: &str, unit: &str| {
            let number = line.split(unit).next()?.rsplit(' ').next()?;
            number.parse::<usize>().ok().filter(|_| line.contains(unit))
        };
        let (mut all, mut kernel) = (HashMap::<&str, Needs>::new(), "");
        for line in log.lines() {
            if let Some((_, rest)) = line.split_once("entry function '") {
                kernel = rest.split('\'').next().unwrap();
            }
            let needs = all.entry(kernel).or_default();
            for unit in [" bytes spill stores", " bytes spill loads"] {
                needs.spilled += before(line, unit).unwrap_or(0);
            }
            if let Some(registers) = before(line, " registers") {
                *needs = Needs { registers, shared: before(line, " bytes smem").unwrap_or(0), ..*needs };
            }
        }
        all.remove("");
        all
    }

    /// Spilled bytes of a thread that are no matter beside what the largest kernels read at each tile.
    const LITTLE: usize = 96;
    /// Registers of a multiprocessor.
    const REGISTERS: usize = 65_536;

    #[test]
    fn every_kernel_compiles_for_every_architecture_and_fits_it() {
        if !is_present() {
            eprintln!("skipped: libnvrtc is not here (the package `nvidia-cuda-nvrtc` has it; see docs/GPU.md)");
            return;
        }
        let source = [kernels::source().as_str(), kernels::INSTRUCTIONS].concat();
        for architecture in ["sm_80", "sm_89", "sm_90", "sm_100"] {
            let (code, log) = compile_with(&source, architecture, Some("--ptxas-options=-v")).unwrap();
            let needs = needs(&log);
            for name in kernels::names() {
                let found = code.windows(name.len() + 6).any(|window| window == format!(".text.{name}").as_bytes());
                assert!(found, "{name} is not in the code for {architecture}");
                let needs = needs.get(name).unwrap_or_else(|| panic!("{name} is not in the log: {log}"));
                let Needs { registers, spilled, shared } = *needs;
                println!(
                    "{architecture} {name}: {registers} registers, {spilled} bytes spilled, {shared} bytes shared"
                );
                assert!(registers > 0, "{name}: the log has another form: {log}");
                let tiles = name.contains("_tiles_");
                assert!(spilled <= if tiles { LITTLE } else { 0 }, "{name}, {architecture}: {needs:?}");
                // Two blocks of 128 threads with tiles share a multiprocessor, and four of those of attention in f32. What moves
                // activations waits for memory, and has half of all threads that there can be.
                let threads = match name {
                    _ if tiles => 256,
                    "attention" | "attention_backward_queries" | "attention_backward_keys" => 512,
                    _ => 1024,
                };
                assert!(registers * threads <= REGISTERS, "{name}, {architecture}: {needs:?}");
                // Those with tiles may ask for the most that a launch may; of the others a draw asks for a bit for each token.
                let dynamic = if tiles { MOST_SHARED } else { 64 << 10 } as usize;
                assert!(shared + dynamic <= SHARED as usize, "{name}, {architecture}: {needs:?}");
            }
        }
    }

    #[test]
    fn needs_are_read_from_the_log() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Compiling entry function 'one' for 'sm_90'\n\
                   ptxas info    : Function properties for one\n    \
                   56 bytes stack frame, 50 bytes spill stores, 80 bytes spill loads\n\
                   ptxas info    : Used 255 registers, used 1 barriers, 80 bytes smem\n\
                   ptxas info    : Compiling entry function 'two' for 'sm_90'\n\
                   ptxas info    : Used 4 registers, used 0 barriers, 392 bytes cmem[0]";
        let needs = needs(log);
        assert_eq!(needs.len(), 2);
        let Needs { registers, spilled, shared } = needs["one"];
        assert_eq!((registers, spilled, shared), (255, 130, 80));
        let Needs { registers, spilled, shared } = needs["two"];
        assert_eq!((registers, spilled, shared), (4, 0, 0));
    }

    #[test]
    fn a_kernel_that_is_wrong_is_refused_with_the_place() {
        if !is_present() {
            eprintln!("skipped: libnvrtc is not here");
            return;
        }
        let error = compile("extern \"C\" __global__ void k( {", "sm_90").unwrap_err().to_string();
        assert!(error.contains("sm_90") && error.contains("aquatint.cu(1)"), "{error}");
    }

    #[test]
    fn stored_code_is_named_by_source_compiler_and_architecture() {
        let one = name("a", (13, 5), "sm_90");
        assert_eq!(one, "af63dc4c8601ec8c-nvrtc13.5-sm_90.cubin");
        assert_ne!(one, name("b", (13, 5), "sm_90"));
        assert_ne!(one, name("a", (13, 0), "sm_90"));
        assert_ne!(one, name("a", (13, 5), "sm_80"));
    }

    #[test]
    fn what_was_stored_is_read_back() {
        let folder = std::env::temp_dir().join(format!("aquatint-kernels-{}", std::process::id()));
        let path = folder.join("x.cubin");
        keep(&path, b"code").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"code");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
