//! Init: becomes the container's process. Freestanding, static, executed from a sealed memfd.
//!
//! What must hold: no allocation, no panic on any script, no path of the container is ever
//! resolved but below the root's descriptor, and every system call goes through [`sys::call`],
//! which notes it on the fault page first. Between the start of this program and the last execve
//! nothing of the host but descriptors 0, 1, 2, the preserved ones, the control socket, the start
//! fifo and the fault page is in reach.
//!
//! ```text
//!            spawned (clone with the caller's memory, execveat)
//!   fd 0 = control socket --hello: stdio, preserved, fifo, script, fault page-->
//!   boot -> records of lane `join` -> Clone -+-> (this process exits)
//!                                            +-> records of lane `init`
//!   Barrier: "reached N" ->, <- "go" (EOF: the creator is gone, exit)
//!   Created: "reached N" ->, <- "go", then one byte from the fifo -> [Hook] -> Seccomp -> Exec
//!            or, if nobody is asked for anything any more, <- "go" alone
//!
//! For a further process in a container the pidfd of its first one comes in the fifo's place, `Enter`
//! joins its namespaces, and `Ready` stands where `Created` stands here.
//! ```
#![no_std]
#![no_main]
#![deny(clippy::disallowed_methods)]
#![allow(unsafe_code)]
// One program in small modules: nothing of it is reachable from outside.
#![allow(unreachable_pub, missing_docs)]

mod boot;
mod conceal;
mod console;
mod copyup;
#[allow(dead_code, missing_docs)] // the half that the host uses
mod fault;
mod files;
mod hook;
mod identity;
mod join;
mod kernel;
mod listener;
mod masks;
mod mounts;
mod program;
#[allow(dead_code)] // the half that the host uses
mod script;
mod start;
mod sys;

use boot::Ctx;
use fault::Phase;
use script::{Op, Script};
use sys::Stop;

/// Where [`start`] goes on: the first Rust function.
extern "C" fn main() -> ! {
    let mut ctx = boot::boot();
    let bytes = ctx.script;
    let Some(mut script) = Script::open(bytes) else {
        sys::die(&Stop::detail(fault::Detail::BadScript, b""));
    };
    ctx.dumpable = script.header.dumpable != 0;
    ctx.set_dumpable();
    while let Some(record) = script.next() {
        let Some(record) = record else {
            sys::die(&Stop::detail(fault::Detail::BadScript, b""));
        };
        sys::enter(Phase::Running, record.step);
        if let Err(stop) = carry_out(&mut ctx, &record.op, record.step) {
            sys::die(&stop);
        }
    }
    sys::die(&Stop::detail(fault::Detail::BadScript, b"no program"));
}

/// One record. Each arm is one function, in the module of its concern.
fn carry_out(ctx: &mut Ctx, op: &Op<'static>, step: u32) -> Result<(), Stop> {
    if !matches!(op, Op::Device { .. } | Op::Symlink { .. }) {
        if let Some((_, fd)) = ctx.parent.take() {
            ctx.later(fd);
        }
        if !matches!(op, Op::Mount { .. } | Op::OldMount { .. }) {
            let dev = ctx.dev.take();
            ctx.later_if(dev);
        }
    }
    ctx.sweep_if_full()?;
    match *op {
        Op::Barrier {} => ctx.barrier(step),
        Op::JoinTasks { files } => join::tasks(files),
        Op::OomScoreAdj { value } => join::oom_score_adj(value),
        Op::SetNs { path, kind } => join::setns(ctx, path, kind),
        Op::NewUser {} => join::new_user(),
        Op::BecomeRoot { drop_groups } => join::become_root(ctx, drop_groups != 0),
        Op::OpenTasks { path } => join::open_tasks(ctx, path),
        Op::JoinOpened {} => join::join_opened(ctx),
        Op::OpenCgroup { path } => join::open_cgroup(ctx, path),
        Op::Enter { flags } => join::enter(ctx, flags),
        Op::Clone { flags, cgroup } => join::clone(ctx, flags, cgroup, step),
        Op::Unshare { flags } => join::unshare(flags),
        Op::Session { keyring } => join::session(keyring),
        Op::Hostname { name } => join::hostname(name),
        Op::Domainname { name } => join::domainname(name),
        Op::Loopback {} => join::loopback(ctx),
        Op::Propagation { flags } => mounts::propagation(c"/", flags),
        Op::HideMounts {} => mounts::hide(ctx),
        Op::LeaveMounts {} => mounts::leave(ctx),
        Op::EnterRoot {} => mounts::enter_root(ctx),
        Op::Root { path, alone } => mounts::root(ctx, path, alone != 0),
        Op::Mount { .. } => mounts::mount(ctx, op),
        Op::OldMount { .. } => mounts::old_mount(ctx, op),
        Op::Remount { .. } => mounts::remount(ctx, op),
        Op::Bind { .. } => mounts::bind(ctx, op),
        Op::SetAttr { dest, set, clear, recursive, propagation } => {
            mounts::set_attr(ctx, dest, set, clear, recursive != 0, propagation)
        }
        Op::Device { path, mode, dev, uid, gid } => files::device(ctx, path, mode, dev, uid, gid),
        Op::Symlink { target, path } => files::symlink(ctx, target, path),
        Op::Console { .. } => console::open(ctx, op),
        Op::Mask { path, data } => masks::mask(ctx, path, data),
        Op::Readonly { path } => masks::readonly(ctx, path),
        Op::RootReadonly {} => mounts::root_readonly(),
        Op::Pivot { move_root, propagation, proc } => {
            mounts::pivot(ctx, move_root != 0, propagation, proc != 0)
        }
        Op::Sysctl { key, value } => files::sysctl(ctx, key, value),
        Op::Rlimit { resource, soft, hard } => identity::rlimit(resource, soft, hard),
        Op::NoNewPrivs {} => identity::no_new_privs(),
        Op::Cwd { path, create, uid, gid } => files::cwd(ctx, path, create != 0, uid, gid),
        Op::ProgramLabel { file, label } => files::program_label(ctx, file, label),
        Op::Affinity { mask } => identity::affinity(mask.0),
        Op::Scheduler { attr } => identity::scheduler(attr.0),
        Op::IoPriority { value } => identity::io_priority(value),
        Op::MemoryPolicy { mode, nodes } => identity::memory_policy(mode, nodes.0),
        Op::Personality { domain } => identity::personality(domain),
        Op::Umask { mask } => identity::umask(mask),
        Op::Bounding { keep, last } => identity::bounding(keep, last),
        Op::Identity { uid, gid, keep_groups, groups } => {
            identity::identity(ctx, uid, gid, keep_groups != 0, groups.0)
        }
        Op::Caps { effective, permitted, inheritable } => identity::caps(effective, permitted, inheritable),
        Op::Ambient { set } => identity::ambient(set),
        Op::Home { uid } => program::home(ctx, uid),
        Op::Lookup { candidates } => program::lookup(ctx, candidates),
        Op::Ready {} => program::ready(ctx, step),
        Op::Hook { .. } => hook::run(ctx, op, step),
        Op::Created { at_once } => program::created(ctx, step, at_once != 0),
        Op::Seccomp { flags, filter } => identity::seccomp(flags, filter.0, ctx.handover.take()),
        Op::Listener {} => listener::prepare(ctx),
        Op::Arguments { argv, envp } => program::arguments(ctx, argv, envp),
        Op::Exec {} => program::exec(ctx, step),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::die(&Stop::detail(fault::Detail::BadScript, b"panic"));
}
