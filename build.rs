//! Makes the bindings to exactly the Kamailio that the module is for.
//!
//! The server's own modules are the truth: the version and the flags that are compiled into them become the symbols that its
//! loader compares, and every define of the source tree is switched to match the flags before a header is read.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use facts::{FACTS, Sign};
use server::Server;

#[path = "kamailio-headers/facts.rs"]
mod facts;
#[path = "kamailio-headers/server.rs"]
mod server;
#[path = "kamailio-headers/stock_module.rs"]
mod stock_module;
#[path = "kamailio-headers/tree.rs"]
mod tree;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    if let Err(error) = build() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    for name in ["KAMAILIO", "KAMAILIO_MODULES", "KAMAILIO_SRC"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for path in ["build.rs", "src/host/ffi/wrapper.h", "src/host/ffi/shim.c", "src/host/ffi/shim.h"] {
        println!("cargo:rerun-if-changed={path}");
    }
    for part in ["facts", "server", "stock_module", "tree"] {
        println!("cargo:rerun-if-changed=kamailio-headers/{part}.rs");
    }
    let server = Server::ask()?;
    // An upgraded server is another server.
    println!("cargo:rerun-if-changed={}", server.program.display());
    println!("cargo:rerun-if-changed={}", server.module.display());
    // What tests, demonstration and benchmark start.
    println!("cargo:rustc-env=KAMAILIO_PROGRAM={}", server.program.display());
    println!("cargo:rustc-env=KAMAILIO_FOLDER={}", server.modules.display());
    // What the program dispatcher-check says the stock module is of: "kamailio 5.6.3 (x86_64/linux)" without the machine.
    let release = server.stamp.version.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    println!("cargo:rustc-env=KAMAILIO_RELEASE={release}");
    let tree = tree::find()?;
    println!("cargo:rerun-if-changed={}", tree.join("config.mak").display());
    link_database(&server, &tree);
    let defines = tree::defines(&tree, &server)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let bindings = bindgen::Builder::default()
        .header("src/host/ffi/wrapper.h")
        .clang_args(&defines)
        .clang_arg(format!("-I{}", tree.display()))
        .clang_arg("-w")
        .allowlist_function("shim_.*")
        .allowlist_function("fixup_(free_)?(igp|spve)_null")
        .allowlist_function("get_is_fparam|get_str_fparam|get_flag_no|sr_kemi_modules_add")
        .allowlist_function("parse_headers|parse_uri|parse_from_header|parse_credentials|set_dst_uri|append_branch")
        .allowlist_function("xavp_(add_after|add_value|get|get_next|rm)")
        .allowlist_function("grep_sock_info|parse_phostport|ksr_get_socket_by_name")
        .allowlist_function("get_loaded_modules|sr_corecb_get|register_timer|sr_wtimer_add|register_basic_timers|fork_basic_utimer|get_max_procs|destroy_modules_phase")
        .allowlist_function("dns_set_local_ttl|get_record|free_rdata_list|cfg_declare|counter_register|db_bind_mod|db_table_version")
        .allowlist_function("route_lookup|run_top_route|register_script_cb|parse_msg|free_sip_msg|inc_msg_no|ksr_msg_env_reset")
        .allowlist_function("sr_kemi_(eng_get|act_ctx_get|act_ctx_set|route)|add_lump_rpl2")
        .allowlist_var("CFG_(VAR_INT|VAR_STR|ATOMIC)|ns_t_srv|event_rt|route_type|EVENT_ROUTE|PROC_(TIMER|MAIN)|TMCB_(LOCAL_COMPLETED|LOCAL_REQUEST_IN|REQUEST_IN|RESPONSE_IN|ON_FAILURE|RESPONSE_SENT|E2ECANCEL_IN|REQUEST_SENT|REQUEST_FWDED|DESTROY)|TYPE_REQUEST|TMCB_RETR_F|(PRE|POST)_SCRIPT_CB|mhomed|sendipv[46]")
        .allowlist_type("xhttp_api_t|sl_api_t|sl_cbp_t|sl_cbelem_t|db_func_t|db1_con_t|db1_res_t|db_val_t|db_type_t|cfg_def_t|tm_binds|srv_rdata|__ns_type|uac_req_t|tmcb_params|transaction_cb|run_act_ctx|sip_protos")
        .opaque_type("cell|dlg|dlg_t")
        .allowlist_var("EQ_T|FPARAM_INT|PVT_OTHER|LUMP_RPL_HDR|SLCB_REPLY_READY")
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
        .to_string();
    fs::write(out.join("bindings.rs"), &bindings)?;
    for fact in FACTS {
        println!("cargo:rustc-check-cfg=cfg({})", fact.cfg);
        let seen = match fact.sign {
            Sign::Bindings(word) => facts::has_word(&bindings, word),
            Sign::Tree(file, word) => {
                let path = tree.join(file);
                println!("cargo:rerun-if-changed={}", path.display());
                let text =
                    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                facts::has_word(&text, word)
            }
        };
        if seen {
            println!("cargo:rustc-cfg={}", fact.cfg);
        }
    }

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
            server.stamp.version, server.stamp.flags, server.cfg_dir
        ),
    )?;
    Ok(())
}

/// The database interface is a library in some servers and a part of the program in others. Only the module is linked to it, tests
/// without a server are not.
fn link_database(server: &Server, tree: &Path) {
    let installed = server.modules.parent().map(|above| above.join("libsrdb1.so.1"));
    let built = tree.join("lib/srdb1/libsrdb1.so.1");
    let Some(library) = installed.into_iter().chain([built]).find(|library| library.is_file()) else {
        return;
    };
    println!("cargo:rustc-cdylib-link-arg={}", library.display());
    if let Some(folder) = library.parent() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
