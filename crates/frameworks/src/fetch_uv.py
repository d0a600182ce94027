"""Put uv at DIRECTORY/bin/uv with the standard library alone, for a Python that has no pip.

    python3 fetch_uv.py DIRECTORY

The index is the one configured for uv or pip (UV_DEFAULT_INDEX, UV_INDEX_URL, uv.toml where this Python reads TOML,
PIP_INDEX_URL, or index-url in pip's configuration files), else the general one; its page for uv is read as JSON (PEP 691) or HTML (PEP 503). Of the wheels for this machine the
newest is taken, checked against the SHA-256 that the index gives, and only its `uv` binary is unpacked. Code 1 with
one line on stderr when something is missing.
"""

import base64
import configparser
import hashlib
import html.parser
import io
import json
import os
import platform
import re
import ssl
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile

PACKAGE = "uv"
GENERAL = "https://pypi.org/simple"  # where pip and uv look when nothing is configured
JSON, HTML = "application/vnd.pypi.simple.v1+json", "text/html"
MOST_BYTES = 200 << 20  # a wheel is about 25 MB; a page that never ends must not fill the memory
WHEEL = re.compile(r"^uv-(?P<version>[0-9][0-9a-z.]*)-(?:[0-9][^-]*-)?py3-none-(?P<platform>[0-9a-z_.]+)\.whl$")


class Problem(Exception):
    """Something a person can act on."""


def shown(address):
    """The address without its user and password."""
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def configured(option):
    """A setting of pip: a variable, else the last of its configuration files that has it."""
    value = os.environ.get("PIP_" + option.upper().replace("-", "_"), "").strip()
    if value:
        return value
    home = os.path.expanduser("~")
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = ["/etc/pip.conf", os.path.join(home, ".pip/pip.conf"), os.path.join(folder, "pip/pip.conf"), os.environ.get("PIP_CONFIG_FILE", "")]
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read([file for file in files if file], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise Problem(f"pip's configuration cannot be read: {error}") from None
    for section in ("install", "global"):
        for name in (option, option.replace("-", "_")):
            if parser.has_option(section, name) and parser.get(section, name).strip():
                return parser.get(section, name).strip()
    return ""


def configured_for_uv():
    """The default index of uv's configuration files, the person's before the machine's, as uv reads them."""
    try:
        import tomllib
    except ImportError:  # before Python 3.11
        return ""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    own = os.environ.get("UV_CONFIG_FILE", "").strip()
    for path in [own] if own else [os.path.join(folder, "uv/uv.toml"), "/etc/uv/uv.toml"]:
        try:
            with open(path, "rb") as file:
                settings = tomllib.load(file)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise Problem(f"{path} cannot be read: {error}") from None
        listed = settings.get("index", [])
        indexes = [index for index in (listed if isinstance(listed, list) else []) if isinstance(index, dict) and index.get("default")]
        for address in [index.get("url") for index in indexes] + [settings.get("index-url")]:
            if isinstance(address, str) and address.strip():
                return address.strip()
    return ""


def index_address():
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name, "").strip():
            return re.sub(r"^[\w.-]+=(?=https?://)", "", os.environ[name].strip())  # uv's indexes may have a name
    return configured_for_uv() or configured("index-url") or GENERAL


def opener():
    certificates = os.environ.get("SSL_CERT_FILE", "").strip() or configured("cert")
    try:
        trust = ssl.create_default_context(cafile=certificates or None)
    except (OSError, ssl.SSLError) as error:
        raise Problem(f"certificates in {certificates} cannot be read: {error}") from None
    handlers = [urllib.request.HTTPSHandler(context=trust)]
    proxy = configured("proxy")
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def get(connection, address, accept):
    """Body and content type. A user and password in the address are sent as its host expects them."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise Problem(f"{shown(address)} is not an http or https address")
    user, at, host = parts.netloc.rpartition("@")
    address_alone = urllib.parse.urlunsplit(parts._replace(netloc=host, fragment=""))
    request = urllib.request.Request(address_alone, headers={"Accept": accept, "User-Agent": "ashlar"})
    if at:
        plain = urllib.parse.unquote(user if ":" in user else user + ":")
        # Not for whoever the host redirects to.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(plain.encode()).decode())
    try:
        with connection.open(request, timeout=float(configured("timeout") or 60)) as answer:
            body = answer.read(MOST_BYTES + 1)
            kind, final = answer.headers.get_content_type(), answer.geturl()
    except urllib.error.HTTPError as error:
        raise Problem(f"{shown(address)}: HTTP error {error.code} {error.reason}") from None
    except (OSError, urllib.error.URLError) as error:
        raise Problem(f"{shown(address)}: {getattr(error, 'reason', error)}") from None
    if len(body) > MOST_BYTES:
        raise Problem(f"{shown(address)}: more than {MOST_BYTES} bytes")
    if at and urllib.parse.urlsplit(final).netloc == host:
        final = urllib.parse.urlunsplit(urllib.parse.urlsplit(final)._replace(netloc=parts.netloc))
    return body, kind, final


class Links(html.parser.HTMLParser):
    """The anchors of a PEP 503 page in the form of PEP 691's files."""

    def __init__(self):
        super().__init__()
        self.files = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "a" and values.get("href"):
            address, _, fragment = values["href"].partition("#")
            name, _, digest = fragment.partition("=")
            filename = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2])
            self.files.append({"filename": filename, "url": address, "hashes": {name: digest} if digest else {}, "yanked": "data-yanked" in values})


def files_of(body, kind):
    if kind == JSON:
        try:
            return json.loads(body)["files"]
        except (ValueError, KeyError, TypeError):
            raise Problem("the index answered with damaged JSON") from None
    links = Links()
    links.feed(body.decode("utf-8", "replace"))
    return links.files


def fits(tags):
    """Whether a wheel's platform tags say that it runs here. How well: newer C libraries are preferred over static ones."""
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    libc, version = platform.libc_ver()
    have = tuple(int(part) for part in version.split(".")[:2]) if libc == "glibc" and version else None
    old = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    best = 0
    for tag in tags.split("."):
        if not tag.endswith("_" + machine):
            continue
        system = tag[: -len(machine) - 1]
        match = re.match(r"^manylinux_(\d+)_(\d+)$", system)
        need = (int(match.group(1)), int(match.group(2))) if match else old.get(system)
        if need and have and need <= have:
            best = max(best, 2)
        elif system.startswith("musllinux"):
            best = max(best, 1)  # uv's are linked statically and run on any Linux
    return best


def version_order(text):
    """Releases only, by number: `0.13.9` comes after `0.9.30`. A pre-release gives nothing."""
    return tuple(int(part) for part in text.split(".")) if re.match(r"^\d+(\.\d+)*$", text) else None


def choose(files):
    candidates = []
    for file in files:
        match = WHEEL.match(file.get("filename", ""))
        if not match or file.get("yanked"):
            continue
        order, fit = version_order(match.group("version")), fits(match.group("platform"))
        if order and fit and file.get("hashes", {}).get("sha256"):
            candidates.append((order, fit, file["filename"], file))
    if not candidates:
        raise Problem(f"the index has no wheel of uv with a SHA-256 for {platform.machine()} Linux")
    return max(candidates, key=lambda candidate: candidate[:3])[3]


def unpack(wheel, directory):
    """Writes the binary beside its place and renames it, so that nobody ever starts half of it."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        names = [name for name in archive.namelist() if re.match(r"^uv-[^/]+\.data/scripts/uv$", name)]
        if len(names) != 1:
            raise Problem("the wheel holds no uv")
        binary = archive.read(names[0])
    place = os.path.join(directory, "bin")
    os.makedirs(place, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=place)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(binary)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(path, 0o755)
        os.replace(path, os.path.join(place, "uv"))
    except BaseException:
        os.unlink(path)
        raise


def main(directory):
    connection = opener()
    page = index_address().rstrip("/") + f"/{PACKAGE}/"
    body, kind, final = get(connection, page, f"{JSON}, {HTML};q=0.5")
    file = choose(files_of(body, kind))
    wheel, _, _ = get(connection, urllib.parse.urljoin(final, file["url"]), "*/*")
    if hashlib.sha256(wheel).hexdigest() != file["hashes"]["sha256"].lower():
        raise Problem(f"{file['filename']} has the wrong hash")
    unpack(wheel, directory)
    print(file["filename"])


if __name__ == "__main__":
    try:
        if len(sys.argv) != 2:
            raise Problem("one argument is needed: the directory")
        main(sys.argv[1])
    except (Problem, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"fetch_uv: {error}")
