# man page, completions, headers, pkg-config
