//! The README's table of settings is the one that the settings themselves make.

use std::{env, fs};

use channelstream_server::program;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const BEGIN: &str = "<!-- settings: written by \
                     `UPDATE_GOLDEN=1 cargo test -p channelstream-server --test it readme` -->\n";
const END: &str = "<!-- end of settings -->";

#[test]
fn the_table_of_settings_is_up_to_date() {
    let readme = fs::read_to_string(README).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the first marker stands in README.md");
    let (between, after) = rest.split_once(END).expect("the second marker stands in README.md");
    let table = format!("\n{}\n", program::settings_table());
    if between == table {
        return;
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(README, [before, BEGIN, &table, END, after].concat()).unwrap();
        return;
    }
    panic!(
        "README.md has another table of settings; to write it anew:\n\
         UPDATE_GOLDEN=1 cargo test -p channelstream-server --test it readme"
    );
}
