// Part of the build script of `report`: embeds the script of the report, if it was built.

/// Where the script is made from, and made into its `dist`.
const REPORT_SCRIPT: &str = "../../service/dashboard/report";

/// Puts `live.js` and `live.css` where the source includes them from. A file that is not there is an empty one: neither
/// Node nor the network is needed to build, and the report is whole without its script, but not interactive.
fn embed_report_script() {
    println!("cargo:rerun-if-changed={REPORT_SCRIPT}");
    let out = std::env::var_os("OUT_DIR").expect("cargo names the folder of the build");
    let read = |name| {
        let path = std::path::Path::new(REPORT_SCRIPT).join("dist").join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let mut script = read("live.js");
    if !script.is_empty() {
        // The page is XML too.
        script = format!("/*<![CDATA[*/\n{script}\n/*]]>*/");
    }
    for (name, text) in [("live.js", script), ("live.css", read("live.css"))] {
        let path = std::path::Path::new(&out).join(name);
        std::fs::write(path, text).expect("cargo's own folder can be written");
    }
}
