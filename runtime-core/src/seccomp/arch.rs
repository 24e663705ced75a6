//! The architectures of the specification: each has a name, the kernel's audit number, and here
//! and there a special range of call numbers.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::tables;

macro_rules! architectures {
    ($($variant:ident, $name:literal, $audit:literal, $oci:ident;)*) => {
        /// An architecture of the specification.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Arch {
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant,)*
        }

        impl Arch {
            /// Every architecture, in the order of this file.
            pub const ALL: &[Arch] = &[$(Arch::$variant,)*];

            /// The token of the specification, for example `SCMP_ARCH_X86_64`.
            pub const fn name(self) -> &'static str {
                match self { $(Arch::$variant => $name,)* }
            }

            /// The kernel's `AUDIT_ARCH_` value, as a filter sees it in `seccomp_data.arch`.
            pub const fn audit(self) -> u32 {
                match self { $(Arch::$variant => $audit,)* }
            }

            /// The architecture of a profile's entry.
            pub fn from_spec(arch: oci_spec::runtime::Arch, native: Arch) -> Self {
                use oci_spec::runtime::Arch as Spec;
                match arch {
                    Spec::ScmpArchNative => native,
                    $(Spec::$oci => Arch::$variant,)*
                }
            }
        }
    };
}

architectures! {
    X86_64, "SCMP_ARCH_X86_64", 0xc000_003e, ScmpArchX86_64;
    X86, "SCMP_ARCH_X86", 0x4000_0003, ScmpArchX86;
    X32, "SCMP_ARCH_X32", 0xc000_003e, ScmpArchX32;
    Aarch64, "SCMP_ARCH_AARCH64", 0xc000_00b7, ScmpArchAarch64;
    Arm, "SCMP_ARCH_ARM", 0x4000_0028, ScmpArchArm;
    Mips, "SCMP_ARCH_MIPS", 0x0000_0008, ScmpArchMips;
    Mips64, "SCMP_ARCH_MIPS64", 0x8000_0008, ScmpArchMips64;
    Mips64N32, "SCMP_ARCH_MIPS64N32", 0xa000_0008, ScmpArchMips64n32;
    Mipsel, "SCMP_ARCH_MIPSEL", 0x4000_0008, ScmpArchMipsel;
    Mipsel64, "SCMP_ARCH_MIPSEL64", 0xc000_0008, ScmpArchMipsel64;
    Mipsel64N32, "SCMP_ARCH_MIPSEL64N32", 0xe000_0008, ScmpArchMipsel64n32;
    Ppc, "SCMP_ARCH_PPC", 0x0000_0014, ScmpArchPpc;
    Ppc64, "SCMP_ARCH_PPC64", 0x8000_0015, ScmpArchPpc64;
    Ppc64Le, "SCMP_ARCH_PPC64LE", 0xc000_0015, ScmpArchPpc64le;
    S390, "SCMP_ARCH_S390", 0x0000_0016, ScmpArchS390;
    S390X, "SCMP_ARCH_S390X", 0x8000_0016, ScmpArchS390x;
    Parisc, "SCMP_ARCH_PARISC", 0x0000_000f, ScmpArchParisc;
    Parisc64, "SCMP_ARCH_PARISC64", 0x8000_000f, ScmpArchParisc64;
    Riscv64, "SCMP_ARCH_RISCV64", 0xc000_00f3, ScmpArchRiscv64;
    Loongarch64, "SCMP_ARCH_LOONGARCH64", 0xc000_0102, ScmpArchLoongarch64;
    M68k, "SCMP_ARCH_M68K", 0x0000_0004, ScmpArchM68k;
    Sh, "SCMP_ARCH_SH", 0x4000_002a, ScmpArchSh;
    Sheb, "SCMP_ARCH_SHEB", 0x0000_002a, ScmpArchSheb;
}

/// `__AUDIT_ARCH_64BIT`
const AUDIT_64BIT: u32 = 0x8000_0000;
/// `__AUDIT_ARCH_LE`
pub(super) const AUDIT_LE: u32 = 0x4000_0000;

/// The lowest number of an x32 call.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// The architecture this program was built for.
    pub const fn native() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Arch::X86_64;
        #[cfg(target_arch = "x86")]
        return Arch::X86;
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        return Arch::Aarch64;
        #[cfg(all(target_arch = "arm", target_endian = "little"))]
        return Arch::Arm;
        #[cfg(all(target_arch = "mips", target_endian = "big"))]
        return Arch::Mips;
        #[cfg(all(target_arch = "mips", target_endian = "little"))]
        return Arch::Mipsel;
        #[cfg(all(target_arch = "mips64", target_endian = "big"))]
        return Arch::Mips64;
        #[cfg(all(target_arch = "mips64", target_endian = "little"))]
        return Arch::Mipsel64;
        #[cfg(target_arch = "powerpc")]
        return Arch::Ppc;
        #[cfg(all(target_arch = "powerpc64", target_endian = "big"))]
        return Arch::Ppc64;
        #[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
        return Arch::Ppc64Le;
        #[cfg(target_arch = "s390x")]
        return Arch::S390X;
        #[cfg(target_arch = "riscv64")]
        return Arch::Riscv64;
        #[cfg(target_arch = "loongarch64")]
        return Arch::Loongarch64;
        #[cfg(target_arch = "m68k")]
        return Arch::M68k;
    }

    /// Every system call that [`compile`](super::compile) knows by name, with its number. Those of
    /// x32 have the bit 0x4000_0000.
    pub fn calls(self) -> impl Iterator<Item = (&'static str, u32)> {
        tables::of(self).iter()
    }

    /// Whether all 64 bits of an argument are compared. The others, x32 and the n32 of MIPS among them, compare
    /// the low halves only, of the argument as of the profile's value: what libseccomp does.
    pub const fn wide(self) -> bool {
        self.audit() & AUDIT_64BIT != 0 && !matches!(self, Arch::X32 | Arch::Mips64N32 | Arch::Mipsel64N32)
    }

    /// Whether the high half of an argument comes first in `struct seccomp_data`.
    pub(super) const fn big_endian(self) -> bool {
        self.audit() & AUDIT_LE == 0
    }

    /// The number of ENOSYS.
    pub const fn enosys(self) -> u32 {
        match self {
            Arch::Mips | Arch::Mips64 | Arch::Mips64N32 => 89,
            Arch::Mipsel | Arch::Mipsel64 | Arch::Mipsel64N32 => 89,
            Arch::Parisc | Arch::Parisc64 => 251,
            _ => 38,
        }
    }

    /// Numbers above the usual ones that say nothing about the age of a call: x32's own
    /// variants and ARM's private calls.
    pub(super) const fn special(self) -> Option<RangeInclusive<u32>> {
        match self {
            Arch::X32 => Some(X32_BIT + 512..=X32_BIT + 547),
            Arch::Arm => Some(0x0f_0000..=0x0f_ffff),
            _ => None,
        }
    }
}
