//! The programs in the benchmark's rootfs. What must hold: they cost next to nothing, so that what is
//! measured is the runtime. Each is a static ELF file of one segment, with a few instructions.

/// `true` for 0, `check` for another status: exit(status).
pub(crate) fn exit_program(status: u8) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    // mov edi, status; mov eax, 60; syscall
    let code = [0xbf, status, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    #[cfg(target_arch = "aarch64")]
    // mov x0, status; mov x8, 93; svc 0
    let code = words([0xd280_0000 | u32::from(status) << 5, 0xd280_0ba8, 0xd400_0001]);
    elf(&code)
}

/// `pause`: waits for signals for ever.
pub(crate) fn pause_program() -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    // again: mov eax, 34; syscall; jmp again
    let code = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    #[cfg(target_arch = "aarch64")]
    // again: x0 to x4 = 0; mov x8, 73 (ppoll); svc 0; b again
    let code = words([
        0xd280_0000,
        0xd280_0001,
        0xd280_0002,
        0xd280_0003,
        0xd280_0004,
        0xd280_0928,
        0xd400_0001,
        0x17ff_fff9,
    ]);
    elf(&code)
}

#[cfg(target_arch = "aarch64")]
fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Puts `code` behind an ELF header and one program header (read and execute).
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let size = HEADERS + code.len() as u64;
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2, machine] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1_u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    for word in [1_u32, 5] {
        out.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        out.extend(word.to_le_bytes());
    }
    out.extend(code);
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn exit_program_runs_and_returns_its_status() -> std::io::Result<()> {
        let path = std::env::temp_dir().join(format!("oxrun-bench-elf-{}", std::process::id()));
        let mut file = std::fs::File::create(&path)?;
        file.write_all(&super::exit_program(42))?;
        file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
        drop(file);
        let status = Command::new(&path).status();
        std::fs::remove_file(&path)?;
        assert_eq!(status?.code(), Some(42));
        Ok(())
    }
}
