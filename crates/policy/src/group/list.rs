//! The groups: where machines keep what each of them stands for.

use super::{About, Group, Item, ItemKind, Variable};
use crate::{policy::Right, risk::Level};

const fn own(path: &'static str) -> Item {
    Item {
        path,
        kind: ItemKind::Own,
    }
}

const fn home(path: &'static str) -> Item {
    Item {
        path,
        kind: ItemKind::Home,
    }
}

const fn device(path: &'static str) -> Item {
    Item {
        path,
        kind: ItemKind::Device,
    }
}

const fn system(path: &'static str) -> Item {
    Item {
        path,
        kind: ItemKind::System,
    }
}

pub(super) const fn about(group: Group) -> &'static About {
    match group {
        Group::Git => &GIT,
        Group::TlsRoots => &TLS_ROOTS,
        Group::Locale => &LOCALE,
        Group::Gpu => &GPU,
        Group::Node => &NODE,
        Group::Python => &PYTHON,
        Group::Rust => &RUST,
        Group::Go => &GO,
        Group::Java => &JAVA,
    }
}

const GIT: About = About {
    word: "group:git",
    what: "git, with your name, settings and ignored files",
    level: Level::Low,
    risk: "your settings tell your name and address, and passwords where you wrote them into an address there; \
           never ~/.git-credentials",
    items: &[
        home("~/.gitconfig"),
        home("~/.config/git/config"),
        home("~/.config/git/ignore"),
        home("~/.config/git/attributes"),
        own("/etc/gitconfig"),
        own("/usr/local/etc/gitconfig"),
        own("/usr/bin/git"),
        own("/usr/lib/git-core"),
        own("/usr/libexec/git-core"),
        own("/usr/share/git-core"),
        own("/usr/local/bin/git"),
        own("/usr/local/libexec/git-core"),
        own("/usr/local/share/git-core"),
        system("/usr/lib"),
        system("/usr/lib64"),
    ],
    programs: &[],
    variables: &[],
    needs: &[Right::Subprocesses],
};

const TLS_ROOTS: About = About {
    word: "group:tls-roots",
    what: "the certificates that this machine trusts",
    level: Level::Low,
    risk: "certificates are public; private keys are not among them",
    items: &[
        own("/etc/ssl/certs"),
        own("/etc/ssl/cert.pem"),
        own("/etc/ssl/ca-bundle.pem"),
        own("/etc/ssl/openssl.cnf"),
        own("/etc/pki/tls/certs"),
        own("/etc/pki/tls/cert.pem"),
        own("/etc/pki/tls/openssl.cnf"),
        own("/etc/pki/ca-trust/extracted"),
        own("/etc/ca-certificates"),
        own("/etc/ca-certificates.conf"),
        own("/etc/crypto-policies"),
        own("/usr/share/ca-certificates"),
        own("/usr/local/share/ca-certificates"),
        own("/usr/lib/ssl/certs"),
        own("/usr/lib/ssl/cert.pem"),
        own("/usr/lib/ssl/openssl.cnf"),
    ],
    programs: &[],
    variables: &[],
    needs: &[],
};

const LOCALE: About = About {
    word: "group:locale",
    what: "languages, character sets and time zones",
    level: Level::Low,
    risk: "it tells your language and time zone",
    items: &[
        own("/usr/lib/locale"),
        own("/usr/share/locale"),
        own("/usr/share/i18n"),
        own("/usr/share/zoneinfo"),
        own("/usr/share/X11/locale"),
        own("/usr/lib/*/gconv"),
        own("/usr/lib/gconv"),
        own("/usr/lib64/gconv"),
        own("/etc/localtime"),
        own("/etc/timezone"),
        own("/etc/locale.alias"),
        own("/etc/locale.conf"),
    ],
    programs: &[],
    variables: &[
        Variable::Passed("LANG"),
        Variable::Passed("LANGUAGE"),
        Variable::Passed("LC_ALL"),
        Variable::Passed("LC_COLLATE"),
        Variable::Passed("LC_CTYPE"),
        Variable::Passed("LC_MESSAGES"),
        Variable::Passed("LC_MONETARY"),
        Variable::Passed("LC_NUMERIC"),
        Variable::Passed("LC_TIME"),
        Variable::Passed("TZ"),
    ],
    needs: &[],
};

const GPU: About = About {
    word: "group:gpu",
    what: "graphics cards, for computing and drawing without a screen",
    level: Level::Low,
    risk: "its drivers are a large part of the kernel to attack, and memory of the card may hold what others left there",
    items: &[
        device("/dev/dri/renderD*"),
        device("/dev/kfd"),
        device("/dev/nvidia*"),
        device("/dev/nvidia-caps/*"),
        device("/dev/dxg"),
        system("/sys/dev/char"),
        system("/sys/devices/pci*"),
        system("/sys/bus/pci/devices"),
        system("/sys/class/drm"),
        system("/sys/class/kfd"),
        system("/sys/devices/virtual/kfd"),
        system("/sys/module/nvidia/version"),
        system("/usr/share/vulkan"),
        system("/etc/vulkan"),
        system("/usr/share/glvnd"),
        system("/etc/glvnd"),
        system("/usr/share/egl"),
        system("/etc/OpenCL"),
        system("/usr/share/drirc.d"),
        system("/usr/share/libdrm"),
        system("/usr/lib/wsl"),
        system("/usr/lib"),
        system("/usr/lib64"),
    ],
    programs: &[],
    variables: &[
        Variable::Passed("CUDA_VISIBLE_DEVICES"),
        Variable::Passed("HIP_VISIBLE_DEVICES"),
        Variable::Passed("ROCR_VISIBLE_DEVICES"),
        Variable::Passed("GPU_DEVICE_ORDINAL"),
    ],
    needs: &[],
};

const NODE: About = About {
    word: "toolchain:node",
    what: "node with npm: the system's, nvm's, fnm's, volta's or mise's",
    level: Level::Low,
    risk: "it can be run; packages that you installed for all projects can be read; never ~/.npmrc",
    items: &[
        own("/usr/bin/node"),
        own("/usr/bin/nodejs"),
        own("/usr/bin/npm"),
        own("/usr/bin/npx"),
        own("/usr/bin/corepack"),
        own("/usr/lib/node_modules"),
        own("/usr/share/nodejs"),
        own("/usr/share/node_modules"),
        own("/usr/local/bin/node"),
        own("/usr/local/bin/npm"),
        own("/usr/local/bin/npx"),
        own("/usr/local/bin/corepack"),
        own("/usr/local/lib/node_modules"),
        own("/etc/nodejs"),
        own("~/.nvm/versions/node"),
        own("$NVM_DIR/versions/node"),
        own("~/.local/share/fnm/node-versions"),
        own("~/.fnm/node-versions"),
        own("~/.volta/bin"),
        own("~/.volta/tools"),
        own("~/.local/share/mise/installs/node"),
        own("$MISE_DATA_DIR/installs/node"),
        own("~/.asdf/installs/nodejs"),
        system("/usr/bin/env"),
        system("/usr/lib"),
        system("/usr/lib64"),
        system("/usr/share/icu"),
    ],
    programs: &[
        "~/.volta/bin",
        "~/.nvm/versions/node/*/bin",
        "$NVM_DIR/versions/node/*/bin",
        "~/.local/share/fnm/node-versions/*/installation/bin",
        "~/.fnm/node-versions/*/installation/bin",
        "~/.local/share/mise/installs/node/*/bin",
        "$MISE_DATA_DIR/installs/node/*/bin",
        "~/.asdf/installs/nodejs/*/bin",
    ],
    variables: &[
        Variable::Passed("NODE_ENV"),
        Variable::Place("VOLTA_HOME", &["~/.volta"]),
    ],
    needs: &[Right::Jit],
};

const PYTHON: About = About {
    word: "toolchain:python",
    what: "python with its packages: the system's, pyenv's, uv's or mise's",
    level: Level::Low,
    risk: "it can be run; packages that you installed for it can be read; never ~/.pypirc",
    items: &[
        own("/usr/bin/python3*"),
        own("/usr/bin/python"),
        own("/usr/lib/python3*"),
        own("/usr/lib64/python3*"),
        own("/usr/share/python3*"),
        own("/usr/local/bin/python3*"),
        own("/usr/local/bin/python"),
        own("/usr/local/lib/python3*"),
        own("/usr/local/lib/libpython3*"),
        own("/etc/python3*"),
        own("~/.pyenv"),
        own("$PYENV_ROOT"),
        own("~/.local/share/uv/python"),
        own("~/.local/share/mise/installs/python"),
        own("$MISE_DATA_DIR/installs/python"),
        own("~/.asdf/installs/python"),
        system("/usr/bin/env"),
        system("/usr/lib"),
        system("/usr/lib64"),
    ],
    programs: &[
        "~/.pyenv/shims",
        "~/.pyenv/bin",
        "$PYENV_ROOT/shims",
        "$PYENV_ROOT/bin",
        "~/.local/share/uv/python/*/bin",
        "~/.local/share/mise/installs/python/*/bin",
        "$MISE_DATA_DIR/installs/python/*/bin",
        "~/.asdf/installs/python/*/bin",
    ],
    variables: &[
        Variable::Place("PYENV_ROOT", &["~/.pyenv"]),
        Variable::Passed("PYENV_VERSION"),
    ],
    needs: &[],
};

const RUST: About = About {
    word: "toolchain:rust",
    what: "rustc and cargo: the system's, rustup's or mise's, with the linker that they call",
    level: Level::Low,
    risk: "it can be run, as can what you installed by cargo; never ~/.cargo/credentials.toml nor ~/.cargo/config.toml",
    items: &[
        // rustup makes what is missing of its own directories before it starts anything.
        own("~/.rustup"),
        own("$RUSTUP_HOME"),
        own("~/.cargo/bin"),
        own("$CARGO_HOME/bin"),
        own("/usr/local/rustup"),
        own("/usr/local/cargo/bin"),
        own("/usr/bin/rustc"),
        own("/usr/bin/cargo"),
        own("/usr/bin/rustdoc"),
        own("/usr/lib/rustlib"),
        own("/usr/lib/rust-*"),
        own("~/.local/share/mise/installs/rust"),
        own("$MISE_DATA_DIR/installs/rust"),
        own("~/.asdf/installs/rust"),
        system("/usr/bin/cc"),
        system("/usr/bin/gcc*"),
        system("/usr/bin/clang*"),
        system("/usr/bin/ld*"),
        system("/usr/bin/lld*"),
        system("/usr/bin/as"),
        system("/usr/bin/ar"),
        system("/usr/libexec/gcc"),
        system("/usr/lib"),
        system("/usr/lib64"),
    ],
    programs: &[
        "~/.cargo/bin",
        "$CARGO_HOME/bin",
        "/usr/local/cargo/bin",
        "~/.local/share/mise/installs/rust/*/bin",
        "$MISE_DATA_DIR/installs/rust/*/bin",
        "~/.asdf/installs/rust/*/bin",
    ],
    variables: &[
        Variable::Place("RUSTUP_HOME", &["~/.rustup", "/usr/local/rustup"]),
        Variable::Passed("RUSTUP_TOOLCHAIN"),
    ],
    needs: &[Right::Subprocesses],
};

const GO: About = About {
    word: "toolchain:go",
    what: "go: the system's, one from its makers' archive, or mise's",
    level: Level::Low,
    risk: "it can be run; none of your modules can be read",
    items: &[
        own("/usr/bin/go"),
        own("/usr/bin/gofmt"),
        own("/usr/lib/go"),
        own("/usr/lib/go-*"),
        own("/usr/lib/golang"),
        own("/usr/share/go"),
        own("/usr/share/go-*"),
        own("/usr/local/go"),
        own("$GOROOT"),
        own("~/sdk/go*"),
        own("~/.local/share/mise/installs/go"),
        own("$MISE_DATA_DIR/installs/go"),
        own("~/.asdf/installs/golang"),
        system("/usr/lib"),
        system("/usr/lib64"),
    ],
    programs: &[
        "/usr/local/go/bin",
        "$GOROOT/bin",
        "/usr/lib/go/bin",
        "~/sdk/go*/bin",
        "~/.local/share/mise/installs/go/*/bin",
        "$MISE_DATA_DIR/installs/go/*/bin",
        "~/.asdf/installs/golang/*/go/bin",
    ],
    variables: &[Variable::Passed("GOTOOLCHAIN")],
    needs: &[Right::Subprocesses],
};

const JAVA: About = About {
    word: "toolchain:java",
    what: "java with its settings and trusted certificates: the system's, SDKMAN's or mise's",
    level: Level::Low,
    risk: "it can be run; never ~/.m2/settings.xml",
    items: &[
        own("/usr/bin/java"),
        own("/usr/bin/javac"),
        own("/usr/bin/jar"),
        own("/usr/lib/jvm"),
        own("$JAVA_HOME"),
        own("/usr/share/java"),
        own("/etc/java*"),
        own("/etc/.java"),
        own("/etc/ssl/certs/java"),
        own("/etc/pki/java"),
        own("~/.sdkman/candidates/java"),
        own("~/.jdks"),
        own("~/.local/share/mise/installs/java"),
        own("$MISE_DATA_DIR/installs/java"),
        own("~/.asdf/installs/java"),
        system("/usr/lib"),
        system("/usr/lib64"),
    ],
    programs: &[
        "$JAVA_HOME/bin",
        "~/.sdkman/candidates/java/current/bin",
        "~/.local/share/mise/installs/java/*/bin",
        "$MISE_DATA_DIR/installs/java/*/bin",
        "~/.asdf/installs/java/*/bin",
    ],
    variables: &[Variable::Place(
        "JAVA_HOME",
        &["~/.sdkman/candidates/java/current"],
    )],
    needs: &[Right::Jit],
};
