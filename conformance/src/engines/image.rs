//! The image is made from the host's static busybox, without network and without an image tool:
//! a tar file for Docker, and the same tar file as the one layer of an OCI image.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// What containerd calls the image, without a tag.
pub(super) const NAME: &str = "docker.io/library/bb";

/// The image's search path.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the root filesystem and packs it: `image.tar`.
pub(super) fn make(scratch: &Path) -> Result<PathBuf, String> {
    let root = scratch.join("rootfs");
    let fail = |what: &str, e: std::io::Error| format!("image: {what}: {e}");
    for dir in ["bin", "etc", "dev", "proc", "sys", "tmp", "root", "home", "run", "data"] {
        fs::create_dir_all(root.join(dir)).map_err(|e| fail(dir, e))?;
    }
    let busybox = Path::new("/bin/busybox");
    fs::copy(busybox, root.join("bin/busybox")).map_err(|e| fail("busybox", e))?;
    for name in output(Command::new(busybox).arg("--list"))?.lines() {
        if name != "busybox" {
            symlink("busybox", root.join("bin").join(name)).map_err(|e| fail(name, e))?;
        }
    }
    let write = |path: &str, text: &str, mode: u32| {
        let path = root.join(path);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(|e| fail(&path.to_string_lossy(), e))
    };
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n", 0o644)?;
    write("etc/group", "root:x:0:\napp:x:1000:\nextra:x:2000:app\n", 0o644)?;
    write("bin/notexec", "#!/bin/sh\n", 0o644)?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).map_err(|e| fail("tmp", e))?;
    let tar = scratch.join("image.tar");
    pack(&root, &tar)?;
    Ok(tar)
}

/// Wraps the tar file into an OCI image layout packed as `oci.tar`: `latest` with a shell, and `pause`
/// for a pod's sandbox.
pub(super) fn oci(scratch: &Path, layer: &Path) -> Result<PathBuf, String> {
    let layout = scratch.join("oci");
    let blobs = layout.join("blobs/sha256");
    let write = |path: &Path, data: &[u8]| {
        fs::write(path, data).map_err(|e| format!("image: {}: {e}", path.display()))
    };
    fs::create_dir_all(&blobs).map_err(|e| format!("image: {}: {e}", blobs.display()))?;
    let blob = |kind: &str, data: &serde_json::Value| -> Result<serde_json::Value, String> {
        let file = scratch.join("blob");
        write(&file, data.to_string().as_bytes())?;
        store(&blobs, &file, kind)
    };
    let layer = store(&blobs, layer, "layer.v1.tar")?;
    let mut manifests = Vec::new();
    for (name, program) in [
        ("latest", json!({ "Cmd": ["/bin/sh"], "Env": [PATH] })),
        ("pause", json!({ "Entrypoint": ["/bin/sleep"], "Cmd": ["100000"], "Env": [PATH] })),
    ] {
        let config = blob(
            "config.v1+json",
            &json!({
                "architecture": arch(), "os": "linux",
                "config": program,
                "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
            }),
        )?;
        let mut manifest = blob(
            "manifest.v1+json",
            &json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config, "layers": [layer],
            }),
        )?;
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        manifests.push(manifest);
    }
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    write(&layout.join("index.json"), index.to_string().as_bytes())?;
    write(&layout.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let tar = scratch.join("oci.tar");
    pack(&layout, &tar)?;
    Ok(tar)
}

/// Copies `file` to where its digest says and returns its descriptor.
fn store(blobs: &Path, file: &Path, kind: &str) -> Result<serde_json::Value, String> {
    let sum = output(Command::new("sha256sum").arg("--").arg(file))?;
    let digest = sum.split_whitespace().next().unwrap_or_default();
    let size = fs::copy(file, blobs.join(digest)).map_err(|e| format!("image: {}: {e}", file.display()))?;
    Ok(json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": format!("sha256:{digest}"),
        "size": size,
    }))
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn pack(dir: &Path, tar: &Path) -> Result<(), String> {
    output(
        Command::new("tar")
            .args(["--numeric-owner", "--owner=0", "--group=0", "-cf"])
            .arg(tar)
            .arg("-C")
            .arg(dir)
            .arg("."),
    )
    .map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|e| format!("{program}: {e}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&done.stderr);
        Err(format!("{program}: {}: {}", done.status, text.trim()))
    }
}
