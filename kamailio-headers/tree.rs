//! The source tree of the server: its headers, and the defines that they must be read with.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::server::Server;
use super::stock_module::differing;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The `src` folder of a configured source tree: `KAMAILIO_SRC`, or the one that `kamailio-headers/fetch.sh` left.
pub fn find() -> Result<PathBuf> {
    let root = match env::var("KAMAILIO_SRC") {
        Ok(path) => PathBuf::from(path),
        Err(_) => {
            let version = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "kamailio"]).output();
            let version =
                version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
            Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("kamailio-headers/source").join(version)
        }
    };
    let src = if root.join("src/config.mak").exists() { root.join("src") } else { root };
    if !src.join("config.mak").exists() {
        return Err(format!(
            "no configured Kamailio source in {}: run 'make headers', or set KAMAILIO_SRC= to a tree in which \
             'make cfg' was run",
            src.display()
        )
        .into());
    }
    Ok(src)
}

/// The defines of the tree, each that shows in the server's flags switched to what these say.
pub fn defines(tree: &Path, server: &Server) -> Result<Vec<String>> {
    let config = fs::read_to_string(tree.join("config.mak"))?;
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix("C_DEFS="))
        .ok_or_else(|| format!("no C_DEFS in {}/config.mak", tree.display()))?;
    let mut all = shlex::split(line).ok_or("C_DEFS in config.mak has an open quote")?;

    let advice = "run 'make headers', or set KAMAILIO_SRC= to the tree that the server was built from";
    let version = all.iter().find_map(|define| define.strip_prefix("-DVERSION=")).unwrap_or_default();
    let version = version.trim_matches('"');
    if !server.stamp.version.split_whitespace().any(|word| word == version) {
        return Err(format!(
            "the source tree {} is of Kamailio {version}, the server is {}: {advice}",
            tree.display(),
            server.stamp.version
        )
        .into());
    }

    let defined = fs::read_to_string(tree.join("core/ver_defs.h"))?;
    all = switched(all, &defined, &server.stamp.flags);
    all.push("-DMOD_NAME=\"dispatcher\"".into());
    let flags = flags(tree, &all)?;
    if let Some(differing) = differing(&server.stamp.flags, &flags) {
        return Err(format!(
            "flags differ, first the server's ({}), second those of the source tree {}: {differing}: {advice}",
            server.module.display(),
            tree.display(),
        )
        .into());
    }
    if flags != server.stamp.flags {
        return Err(format!(
            "flags are in another order\n  server: {}\n  source: {flags}\n{advice}",
            server.stamp.flags
        )
        .into());
    }
    Ok(all)
}

/// These defines, each that `ver_defs` turns into a flag switched on or off by whether it is among the flags.
pub fn switched(mut all: Vec<String>, ver_defs: &str, flags: &str) -> Vec<String> {
    let listed: Vec<&str> = flags.split(", ").collect();
    let lock = listed.iter().find_map(|flag| flag.strip_prefix("FAST_LOCK"));
    let lock: Option<Vec<&str>> = lock.map(|kinds| kinds.split('-').collect());
    let put_together = ver_defs.split("define SER_COMPILE_FLAGS").nth(1).unwrap_or_default();
    for name in ver_defs.lines().filter_map(|line| line.strip_prefix("#ifdef ")).map(str::trim) {
        let on = match name {
            "FAST_LOCK" => lock.is_some(),
            "BUSY_WAIT" | "ADAPTIVE_WAIT" | "NOSMP" => {
                lock.as_ref().is_some_and(|kinds| kinds.contains(&name))
            }
            "KSR_PTHREAD_MUTEX_SHARED" => listed.contains(&"TLS_PTHREAD_MUTEX_SHARED"),
            // A text is made of it, and no flag: it stays as the tree has it.
            _ if !put_together.split_whitespace().any(|word| word == format!("{name}_STR")) => continue,
            _ => listed.contains(&name),
        };
        let define = format!("-D{name}");
        all.retain(|one| one != &define);
        if on {
            all.push(define);
        }
    }
    all
}

/// The flags of a module that is compiled from this tree with these defines.
fn flags(tree: &Path, defines: &[String]) -> Result<String> {
    let probe = PathBuf::from(env::var("OUT_DIR")?).join("flags.c");
    fs::write(&probe, "#include \"core/ver_defs.h\"\nDISPATCHER_FLAGS SER_COMPILE_FLAGS\n")?;
    let mut cc = cc::Build::new();
    cc.file(&probe).include(tree);
    for define in defines {
        cc.flag(define);
    }
    let text = String::from_utf8(cc.try_expand()?)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("DISPATCHER_FLAGS "))
        .ok_or("the preprocessor left no flags")?;
    Ok(line.split('"').skip(1).step_by(2).collect())
}
