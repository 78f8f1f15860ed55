//! Makes the bindings to exactly the Kamailio that is installed.
//!
//! The server's own words (`kamailio -v`) are the truth: its version and flags become the symbols that its loader
//! compares, and every define of the source tree is switched to match the flags before a header is read.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    if let Err(error) = build() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    for name in ["KAMAILIO", "KAMAILIO_SRC"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for path in ["build.rs", "src/host/ffi/wrapper.h", "src/host/ffi/shim.c", "src/host/ffi/shim.h"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let server = Server::ask()?;
    // An upgraded server is another server.
    println!("cargo:rerun-if-changed={}", server.path.display());
    // The database interface; only the module is linked to it, tests without a server are not.
    let database = server.libraries.join("libsrdb1.so.1");
    println!("cargo:rustc-cdylib-link-arg={}", database.display());
    println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,{}", server.libraries.display());
    let tree = source_tree()?;
    println!("cargo:rerun-if-changed={}", tree.join("config.mak").display());
    let defines = defines(&tree, &server)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);

    bindgen::Builder::default()
        .header("src/host/ffi/wrapper.h")
        .clang_args(&defines)
        .clang_arg(format!("-I{}", tree.display()))
        .clang_arg("-w")
        .allowlist_function("shim_.*")
        .allowlist_function("fixup_(free_)?(igp|spve)_null")
        .allowlist_function("get_is_fparam|get_str_fparam|sr_kemi_modules_add")
        .allowlist_function("parse_headers|parse_uri|parse_from_header|parse_credentials|set_dst_uri|append_branch")
        .allowlist_function("xavp_(add_after|add_value|get|get_next|rm)")
        .allowlist_function("grep_sock_info|parse_phostport|ksr_get_socket_by_name")
        .allowlist_function("get_loaded_modules|sr_corecb_get|register_timer|sr_wtimer_add|register_basic_timers|fork_basic_utimer|get_max_procs|destroy_modules_phase")
        .allowlist_function("dns_set_local_ttl|get_record|free_rdata_list|cfg_declare|counter_register|db_bind_mod|db_table_version")
        .allowlist_function("route_lookup|run_top_route|register_script_cb|parse_msg|free_sip_msg|inc_msg_no|ksr_msg_env_reset")
        .allowlist_function("sr_kemi_(eng_get|act_ctx_get|act_ctx_set|route)")
        .allowlist_var("CFG_(VAR_INT|VAR_STR|ATOMIC)|ns_t_srv|event_rt|route_type|EVENT_ROUTE|PROC_(TIMER|MAIN)|TMCB_(LOCAL_COMPLETED|REQUEST_IN|REQUEST_SENT|REQUEST_FWDED|DESTROY)|TYPE_REQUEST|TMCB_RETR_F|(PRE|POST)_SCRIPT_CB|mhomed|sendipv[46]")
        .allowlist_type("xhttp_api_t|db_func_t|db1_con_t|db1_res_t|db_val_t|db_type_t|cfg_def_t|tm_binds|srv_rdata|__ns_type|uac_req_t|tmcb_params|transaction_cb|run_act_ctx|sip_protos")
        .opaque_type("cell|dlg|dlg_t")
        .allowlist_var("EQ_T|FPARAM_INT|PVT_OTHER")
        .allowlist_type("module_exports_t|param_export_t|cmd_export_t|rpc_export_t|rpc_t|sip_msg_t|sr_xval_t")
        .allowlist_function("pv_(get_sintval|get_strval|get_null|parse_format|printf_s|parse_spec2)")
        .allowlist_type("sr_kemi_t|pv_export_t|pv_spec_t|pv_value_t|pv_elem_t|auth_body_t|dispatcher_api_t")
        .allowlist_type("script_cb_(type|flag)|request_method|_hdr_types_t|sr_xtype_t|sip_uri_t")
        .allowlist_var("process_no|(ANY|REQUEST|FAILURE|ONREPLY|BRANCH)_ROUTE|PV_(VAL_INT|VAL_STR|TYPE_INT|NAME_INTSTR)|SR_KEMIP_.*|PARAM_INT|PARAM_STR|PROC_INIT")
        .allowlist_var("MODULE_INTERFACE_VER|SIP_(REQUEST|REPLY)|L_(CRIT|ERR|WARN|INFO|DBG)|L_BUG")
        .prepend_enum_name(false)
        .derive_debug(false)
        .generate_comments(false)
        .rust_target(bindgen::RustTarget::stable(85, 0).map_err(|error| error.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()?
        .write_to_file(out.join("bindings.rs"))?;

    let mut shim = cc::Build::new();
    shim.file("src/host/ffi/shim.c").include(&tree).warnings(false).flag("-ffunction-sections");
    for define in &defines {
        shim.flag(define);
    }
    shim.try_compile("dispatcher_shim")?;

    fs::write(
        out.join("server.rs"),
        format!(
            "/// The version that the server's loader compares.\npub const VERSION: &::core::ffi::CStr = c{:?};\n\
             /// The compile flags that the server's loader compares.\npub const FLAGS: &::core::ffi::CStr = c{:?};\n\
             /// Where the server keeps its configuration.\npub const CFG_DIR: &str = {:?};\n",
            server.version, server.flags, server.cfg_dir
        ),
    )?;
    Ok(())
}

/// What the installed server says of itself.
struct Server {
    path: PathBuf,
    version: String,
    flags: String,
    cfg_dir: String,
    /// Where its libraries are: the folder above that of its modules.
    libraries: PathBuf,
}

impl Server {
    fn ask() -> Result<Self> {
        let program = env::var("KAMAILIO").unwrap_or_else(|_| "kamailio".into());
        let words = |option: &str| -> Result<String> {
            let output = Command::new(&program).arg(option).output().map_err(|error| {
                format!(
                    "cannot run '{program}' ({error}): install Kamailio with 'make deps' or set KAMAILIO="
                )
            })?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr))
        };
        let about = words("-v")?;
        let field = |name: &str| {
            about
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .ok_or_else(|| format!("'{program} -v' says no '{name}':\n{about}"))
        };
        // "version: kamailio 5.6.3 (x86_64/linux) <revision>"
        let version = field("version: ")?;
        let end = version.find(')').ok_or("the server's version has no '(architecture/system)'")?;
        let help = words("-h")?;
        let cfg = help
            .split("(default: ")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .find(|path| path.ends_with("/kamailio.cfg"))
            .ok_or("'kamailio -h' names no default configuration file")?;
        let modules = help
            .lines()
            .find(|line| line.contains("Modules search path"))
            .and_then(|line| line.split("(default: ").nth(1)?.split([')', ':']).next())
            .ok_or("'kamailio -h' names no folder of modules")?;
        let libraries = Path::new(modules.trim_end_matches('/')).parent().unwrap_or(Path::new("/"));
        Ok(Self {
            path: in_path(&program).ok_or_else(|| format!("'{program}' is nowhere in PATH"))?,
            version: version[..=end].to_string(),
            flags: field("flags: ")?.trim_end().to_string(),
            cfg_dir: cfg.trim_end_matches("kamailio.cfg").to_string(),
            libraries: libraries.to_path_buf(),
        })
    }

    fn flag_set(&self) -> BTreeSet<&str> {
        self.flags.split(", ").collect()
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The `src` folder of a configured source tree: `KAMAILIO_SRC`, or the one that `kamailio-headers/fetch.sh` left.
fn source_tree() -> Result<PathBuf> {
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

/// The defines of the tree, each that the server reports as a flag switched to what the server says.
fn defines(tree: &Path, server: &Server) -> Result<Vec<String>> {
    let config = fs::read_to_string(tree.join("config.mak"))?;
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix("C_DEFS="))
        .ok_or_else(|| format!("no C_DEFS in {}/config.mak", tree.display()))?;
    let mut all = shlex::split(line).ok_or("C_DEFS in config.mak has an open quote")?;

    let version = all.iter().find_map(|define| define.strip_prefix("-DVERSION=")).unwrap_or_default();
    let version = version.trim_matches('"');
    if !server.version.split_whitespace().any(|word| word == version) {
        return Err(format!(
            "the source tree is of Kamailio {version}, the server says '{}': run 'make headers', or set KAMAILIO_SRC= \
             to the tree that the server was built from",
            server.version
        )
        .into());
    }

    let reported = fs::read_to_string(tree.join("core/ver_defs.h"))?;
    let flags = server.flag_set();
    let lock =
        flags.iter().find_map(|flag| flag.strip_prefix("FAST_LOCK")).map(|kind| kind.trim_start_matches('-'));
    for name in reported.lines().filter_map(|line| line.strip_prefix("#ifdef ")).map(str::trim) {
        let on = match name {
            "FAST_LOCK" => lock.is_some(),
            "BUSY_WAIT" | "ADAPTIVE_WAIT" => lock == Some(name),
            "KSR_PTHREAD_MUTEX_SHARED" => flags.contains("TLS_PTHREAD_MUTEX_SHARED"),
            // Not in the list of flags: stays as the tree has it.
            "MEM_JOIN_FREE" | "NOSMP" => continue,
            name => flags.contains(name),
        };
        let define = format!("-D{name}");
        all.retain(|one| one != &define);
        if on {
            all.push(define);
        }
    }
    all.push("-DMOD_NAME=\"dispatcher\"".into());

    let tree_flags = flags_of_tree(tree, &all)?;
    if tree_flags != server.flags {
        return Err(format!(
            "the source tree does not fit the server\n  server: {}\n  tree:   {tree_flags}",
            server.flags
        )
        .into());
    }
    Ok(all)
}

/// What a server built from this tree with these defines would print as its flags.
fn flags_of_tree(tree: &Path, defines: &[String]) -> Result<String> {
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
