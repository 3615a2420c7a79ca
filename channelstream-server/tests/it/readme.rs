//! The table in docs/settings.md is the one that the table of settings generates.

use std::{env, fs};

use channelstream_server::config::table;

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
    let table = format!("\n{}\n", table::settings_table());
    if between == table {
        return;
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(SETTINGS, [before, BEGIN, &table, END, after].concat()).unwrap();
        return;
    }
    panic!(
        "docs/settings.md has another table of settings; to write it anew:\n\
         UPDATE_GOLDEN=1 cargo test -p channelstream-server --test it readme"
    );
}
