//! Tables in documents are those that the program generates.

use std::{env, fs};

use channelstream_server::program;

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
const BEGIN: &str = "<!-- settings: written by \
                     `UPDATE_GOLDEN=1 cargo test -p channelstream-server --test it readme` -->\n";
const END: &str = "<!-- end of settings -->";

#[test]
fn the_table_of_settings_is_up_to_date() {
    let page = fs::read_to_string(SETTINGS).unwrap();
    let (before, rest) =
        page.split_once(BEGIN).expect("the first marker stands in docs/settings.md");
    let (between, after) =
        rest.split_once(END).expect("the second marker stands in docs/settings.md");
    let table = format!("\n{}\n", program::settings_table());
    if between == table {
        return;
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(SETTINGS, [before, BEGIN, &table, END, after].concat()).unwrap();
        return;
    }
    panic!(
        "docs/settings.md has another table of settings; to write it again:\n\
         UPDATE_GOLDEN=1 cargo test -p channelstream-server --test it readme"
    );
}

#[test]
fn the_table_of_metrics_is_up_to_date() {
    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (text, table) = document.split_once("\n| name |").expect("docs/metrics.md has a table");
    let generated = program::metrics_table();
    if format!("| name |{table}") == generated {
        return;
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(DOCUMENT, format!("{text}\n{generated}")).unwrap();
        return;
    }
    panic!(
        "docs/metrics.md has another table of metrics; to write it again:\n\
         UPDATE_GOLDEN=1 cargo test -p channelstream-server --test it readme"
    );
}

/// The signer in Python stands in two documents; that of the signer is run against its vectors.
#[test]
fn the_signer_in_python_is_the_same_in_both_documents() {
    let block = |document: &str| {
        let mut blocks =
            document.split("```python\n").map(|rest| rest.split("```").next().unwrap());
        blocks.find(|block| block.contains("def sign_request")).unwrap().to_owned()
    };
    let of_the_signer = block(include_str!("../../../channelstream-signer/README.md"));
    assert_eq!(block(include_str!("../../../docs/http-api.md")), of_the_signer);
}
