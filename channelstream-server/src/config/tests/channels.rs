//! Sections of channels: their settings by name.

use channelstream_core::protocol::ChannelConfig;

use super::*;

/// Patterns with the settings of channels that match.
fn channels(config: &Config) -> Vec<(&str, ChannelConfig)> {
    let all = config.channel_defaults.iter();
    all.map(|defaults| (defaults.pattern.as_str(), defaults.settings)).collect()
}

#[test]
fn sections_give_channels_their_settings_by_name() {
    let (_folder, path) = file(
        "[DEFAULT]\nsize = 50\n[channelstream]\nport = 1\n[channel  orders-* ]\nStore_History = yes\n\
         history_size = %(size)s\nhistory_ttl = 3600\n[app:main]\nx = 1\n[channel a]b]\nnotify_state = off\n\
         store_frames =\n[channel orders-]\n",
    );
    let sources = from_file(&path);
    let checked = sources.check();
    assert!(warned(&checked, &["14: [channel orders-] never applies"]), "{:?}", checked.warnings);
    let kept = ChannelConfig {
        store_history: Some(true),
        history_size: Some(50),
        history_ttl: Some(3600),
        ..ChannelConfig::default()
    };
    let state = ChannelConfig { notify_state: Some(false), ..ChannelConfig::default() };
    let config = checked.config.unwrap();
    assert_eq!(channels(&config)[..2], [("orders-*", kept), ("a]b", state)]);
    let path = path.display();
    assert_eq!(
        template::shown_channels(&sources)[..4],
        [
            format!("[channel orders-*]  ({path}:5)"),
            format!("store_history = yes  ({path}:6)"),
            format!("history_size = 50  ({path}:7)"),
            format!("history_ttl = 3600  ({path}:8)"),
        ]
    );
}

#[test]
fn what_is_wrong_with_a_section_is_told() {
    let (_folder, path) = file(
        "[channelstream]\n[channel a-*]\nstore_history = maybe\nhistory_size = -1\n\
         history_sise = 1\nport = 1\n[channel]\n[channel a-b*]\n[channels x]\n[Channel:y]\n[logger z]\n",
    );
    let checked = from_file(&path).check();
    for parts in [
        &[":5: unknown setting history_sise", "did you mean history_size?"][..],
        &[":6: unknown setting port, ignored"],
        &[":8: [channel a-b*] never applies: [channel a-*] comes first"],
        &[":9: unknown section [channels x], ignored; did you mean [channel ...]?"],
        &[":10: unknown section [Channel:y]"],
    ] {
        assert!(warned(&checked, parts), "{parts:?}: {:?}", checked.warnings);
    }
    assert!(!warned(&checked, &["logger"]));
    let lines = error_lines(&checked).join("\n");
    for part in [
        ":3: store_history = \"maybe\": neither true nor false",
        ":4: history_size = \"-1\": not a whole number from 0",
        ":7: [channel] names no channels",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let many: String = (0..1001).map(|number| format!("[channel x{number}]\n")).collect();
    let (_folder, path) = file(format!("[channelstream]\n{many}"));
    let lines = error_lines(&from_file(&path).check());
    assert!(lines[0].ends_with(":1002: more than 1000 sections [channel ...]"), "{lines:?}");
}

#[test]
fn json_has_sections_in_their_order_and_files_keep_them() {
    let document = r#"{"port": 9001, "channel z-*": {"store_history": true, "history_size": 5},
        "channel *": {"store_frames": null, "notify_state": "no"}}"#;
    let sources = from_json(document).unwrap();
    let wanted = sources.check().config.unwrap();
    assert_eq!(wanted.channel_defaults.len(), 2);
    assert_eq!(wanted.channel_defaults[0].pattern.as_str(), "z-*");
    let (_folder, path) = file(template::ini_file(&sources).unwrap());
    assert_eq!(from_file(&path).check().config.unwrap(), wanted);
    assert!(from_json(r#"{"channel x": {"store_history": {}}}"#).is_err());
    let broken = from_json(r#"{"channel a\nb": {}}"#).unwrap();
    let errors = template::ini_file(&broken).unwrap_err().to_string();
    assert_eq!(errors, r"JSON: [channel a\nb] cannot be written to an ini file");
}
