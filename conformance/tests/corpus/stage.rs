//! A document made to run on this machine. Stand-ins are: sources of bind mounts and overlays that do not
//! exist here, the programs of hooks, joined namespaces, the root filesystem, the prefix of the cgroup and the
//! program itself. Everything else is as it was recorded. A document of a rootless engine is for a runtime that
//! is root of the engine's user namespace; it gets one.

use super::standin::{self, Holder, Kind, Mounted, Sources};
use oxrun_conformance::harness::{Bundle, Config, Host, Sandbox};
use oxrun_conformance::{Check, Failed};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The id of the container.
pub(crate) const ID: &str = "c1";

/// The host's id for root of a rootless engine's user namespace, and how many ids there are.
pub(crate) const OUTER: u32 = 300_000;
const SIZE: u32 = 70_000;

/// A bundle of a document, with all that it needs. Goes in this order: namespaces, mounts, cgroups, files.
pub(crate) struct Stage {
    /// The document as the runtime is given it.
    pub(crate) document: Value,
    /// Directories made for the container's cgroup to lie in, the innermost first, below each hierarchy.
    parents: Vec<PathBuf>,
    holder: Option<Holder>,
    /// The user and mount namespace in which the runtime is called.
    outer: Option<Holder>,
    mounted: Mounted,
    pub(crate) bundle: Bundle,
    pub(crate) sandbox: Sandbox,
}

impl Stage {
    /// Prepares everything but the program. `rootless` puts the runtime into a user namespace.
    pub(crate) fn new(document: &Value, rootless: bool) -> Check<Self> {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))?;
        let bundle = sandbox.bundle(&Config::parse("{}")?)?;
        let mut stage = Self {
            document: document.clone(),
            parents: Vec::new(),
            holder: None,
            outer: None,
            mounted: Mounted::default(),
            bundle,
            sandbox,
        };
        stage.root();
        stage.sources(rootless)?;
        stage.hooks();
        stage.namespaces()?;
        if rootless {
            stage.enter()?;
        } else {
            stage.cgroup()?;
        }
        stage.owners()?;
        Ok(stage)
    }

    /// Whether the runtime is in a user namespace.
    pub(crate) fn is_rootless(&self) -> bool {
        self.outer.is_some()
    }

    /// A program of the host where the runtime is called.
    pub(crate) fn host_command(&self, program: &Path) -> Command {
        match &self.outer {
            None => Command::new(program),
            Some(outer) => {
                let words = outer.enter();
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).arg(program);
                command
            }
        }
    }

    /// The namespace of an engine that is called by an ordinary user: its ids are not those of the host.
    fn enter(&mut self) -> Check {
        let outer = Holder::new(self.sandbox.probe(), "user,mount")?;
        outer.map(OUTER, SIZE)?;
        let words = outer.enter();
        self.sandbox.runtime_mut().wrap(&words.iter().map(String::as_str).collect::<Vec<_>>());
        std::os::unix::fs::chown(self.sandbox.dir(), Some(OUTER), Some(OUTER))?;
        self.outer = Some(outer);
        Ok(())
    }

    /// Gives the root filesystem and the sources to the container's root, except where a mount maps ids.
    fn owners(&self) -> Check {
        let first = |list: &str| {
            let list = self.document["linux"][list].as_array().into_iter().flatten();
            let root = list.filter(|entry| entry["containerID"] == 0).find_map(|e| e["hostID"].as_u64());
            let inner = root.and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
            inner + if self.is_rootless() { OUTER } else { 0 }
        };
        let (uid, gid) = (first("uidMappings"), first("gidMappings"));
        if (uid, gid) == (0, 0) {
            return Ok(());
        }
        standin::give(&self.bundle.rootfs(), uid, gid)?;
        for mount in self.document["mounts"].as_array().into_iter().flatten() {
            let source = PathBuf::from(standin::text(&mount["source"]));
            if source.starts_with(self.sandbox.dir()) && !standin::has_option(mount, "idmap") {
                standin::give(&source, uid, gid)?;
            }
        }
        Ok(())
    }

    /// Sets the program and writes config.json.
    pub(crate) fn program(&mut self, args: &[String]) -> Check {
        self.document["process"]["args"] = json!(args);
        self.bundle.write(self.document.to_string())
    }

    /// A new root filesystem; where the document copies what a tmpfs covers, it has something to copy.
    fn root(&mut self) {
        let rootfs = self.bundle.rootfs();
        if self.document["root"]["path"].as_str().is_some_and(|p| p.starts_with('/')) {
            self.document["root"]["path"] = json!(rootfs.to_string_lossy());
        }
        for mount in self.document["mounts"].as_array().into_iter().flatten() {
            if standin::has_option(mount, "tmpcopyup") {
                let covered = rootfs.join(standin::text(&mount["destination"]).trim_start_matches('/'));
                // If it cannot be made, the comparison says that it is not there.
                let _ = fs::create_dir_all(&covered).and_then(|()| fs::write(covered.join("kept"), "kept"));
            }
        }
    }

    fn sources(&mut self, rootless: bool) -> Check {
        let list = self.document["linux"]["namespaces"].as_array().into_iter().flatten();
        // What lies below a source cannot be left out by whoever does not own it.
        let locked = rootless || list.into_iter().any(|entry| entry["type"] == "user");
        let mut sources = Sources::new(self.sandbox.make_dir("sources")?, &mut self.mounted)?;
        for mount in self.document["mounts"].as_array_mut().into_iter().flatten() {
            if standin::is_bind(mount) {
                let file = standin::is_file(&standin::text(&mount["destination"]));
                let nested = !file && (!locked || standin::has_option(mount, "rbind"));
                let kind = if file { Kind::File } else { Kind::Directory { nested } };
                let source = sources.instead_of(&standin::text(&mount["source"]), kind)?;
                mount["source"] = json!(source);
            }
            for option in mount["options"].as_array_mut().into_iter().flatten() {
                if let Some((key @ ("lowerdir" | "upperdir" | "workdir"), path)) =
                    standin::text(option).split_once('=')
                {
                    let plain = Kind::Directory { nested: false };
                    *option = json!(format!("{key}={}", sources.instead_of(path, plain)?));
                }
            }
        }
        Ok(())
    }

    /// The probe writes down what each hook is given. Name, environment and timeout are the document's.
    fn hooks(&mut self) {
        let probe = self.sandbox.probe().to_string_lossy().into_owned();
        let files: Vec<(String, usize, PathBuf)> = self.hook_files();
        for (kind, index, file) in files {
            let hook = &mut self.document["hooks"][&kind][index];
            let inside = kind == "startContainer";
            let name = hook["args"][0].clone();
            let seen = if inside { format!("/tmp/{kind}-{index}") } else { file.to_string_lossy().into() };
            hook["path"] = json!(if inside { "/bin/probe" } else { &probe });
            hook["args"] = json!([name, "hook", seen]);
        }
    }

    /// The hooks by kind and place in the list, and the file of each as the host sees it.
    pub(crate) fn hook_files(&self) -> Vec<(String, usize, PathBuf)> {
        let mut files = Vec::new();
        for (kind, list) in self.document["hooks"].as_object().into_iter().flatten() {
            for index in 0..list.as_array().map_or(0, Vec::len) {
                let name = format!("{kind}-{index}");
                let inside = kind == "startContainer";
                let directory =
                    if inside { self.bundle.rootfs().join("tmp") } else { self.sandbox.dir().to_owned() };
                files.push((kind.clone(), index, directory.join(name)));
            }
        }
        files
    }

    /// One process holds all namespaces that are joined; a path outside procfs is a file bound from it.
    fn namespaces(&mut self) -> Check {
        let list = self.document["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
        let joined: Vec<String> =
            list.iter().filter(|n| n["path"].is_string()).map(|n| standin::text(&n["type"])).collect();
        if joined.is_empty() {
            return Ok(());
        }
        let holder = Holder::new(self.sandbox.probe(), &joined.join(","))?;
        for (index, entry) in list.iter().enumerate().filter(|(_, n)| n["path"].is_string()) {
            let held = holder.path(&standin::text(&entry["type"]));
            let path = if standin::text(&entry["path"]).starts_with("/proc/") {
                held
            } else {
                let name = format!("namespace-{index}");
                self.mounted.bind(&held, self.sandbox.make_file(&name, "")?)?
            };
            self.document["linux"]["namespaces"][index]["path"] = json!(path.to_string_lossy());
        }
        self.holder = Some(holder);
        Ok(())
    }

    /// A path of the same form with a first name of its own.
    fn cgroup(&mut self) -> Check {
        let recorded = standin::text(&self.document["linux"]["cgroupsPath"]);
        let inner = if recorded.is_empty() { "own" } else { recorded.trim_start_matches('/') };
        let path = format!("/{}{inner}", self.sandbox.cgroup_prefix());
        self.document["linux"]["cgroupsPath"] = json!(path);
        let above = Path::new(&path).ancestors().skip(1).filter(|p| p.parent().is_some());
        let above: Vec<PathBuf> = above.map(|p| standin::below_root(p).to_owned()).collect();
        let roots = Host::cgroup_roots()?;
        self.parents = roots.iter().flat_map(|root| above.iter().map(|p| root.join(p))).collect();
        // The engine gives its own cgroup a share of real time before a container can have one.
        let share = self.document["linux"]["resources"]["cpu"]["realtimeRuntime"].as_i64();
        if let (Some(share), Some(outer)) = (share, above.first())
            && let Some(root) = roots.iter().find(|root| root.join("cpu.rt_runtime_us").exists())
        {
            fs::create_dir_all(root.join(outer))?;
            for directory in above.iter().rev() {
                fs::write(root.join(directory).join("cpu.rt_runtime_us"), share.to_string())?;
            }
        }
        Ok(())
    }

    /// The container's cgroup in each hierarchy where it is.
    pub(crate) fn cgroups(&self) -> Check<Vec<PathBuf>> {
        let Some(path) = self.document["linux"]["cgroupsPath"].as_str() else { return Ok(Vec::new()) };
        let inner = standin::below_root(Path::new(path)).to_owned();
        let all = Host::cgroup_roots()?.into_iter().map(|root| root.join(&inner));
        Ok(all.filter(|directory| directory.is_dir()).collect())
    }

    /// Takes away what the engine would own, which fails if the container's cgroup is still inside.
    pub(crate) fn remove_parents(&mut self) -> Check {
        for directory in std::mem::take(&mut self.parents) {
            match fs::remove_dir(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failed::from(format!("rmdir {}: {error}", directory.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a failure the container may be there still.
        if self.sandbox.runtime().root().join(ID).is_dir() {
            let _ = self.sandbox.runtime().call(&["delete", "--force", ID]);
        }
        let _ = self.remove_parents();
    }
}
