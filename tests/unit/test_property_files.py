"""Property files: values as they are, Java's translated, refusals in a sentence without the secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.kafka.client import java_properties
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.java_client import translated
from mainstem.kafka.client.properties import broker_properties, client_properties
from mainstem.kafka.client.property_names import NAMES

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(st.dictionaries(VALUES.filter(bool), VALUES, max_size=4))
def test_what_is_written_for_java_is_read_back(values: dict[str, str]) -> None:
    """Backslashes, umlauts, blanks at either end, line ends, signs beyond 16 bits."""
    text = "".join(java_properties.line(name, value) for name, value in values.items())
    assert text.isascii() and java_properties.parsed(text, "here") == values


PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda t: t == t.lstrip())


@settings(max_examples=50)
@given(password=PASSWORDS, end=st.sampled_from(["\n", "\r\n"]))
def test_a_value_stands_as_it_is(password: str, end: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Up to the end of its line; only blanks before it are librdkafka's own to leave out."""
    file = tmp_path_factory.mktemp("file") / "client.properties"
    file.write_bytes(f"# ours{end}sasl.username = u{end}sasl.password={password}{end}".encode())
    assert client_properties(file) == {"sasl.username": "u", "sasl.password": password}


@given(PASSWORDS)
def test_java_s_login_is_translated(password: str) -> None:
    """With a quoted password, whatever is in it."""
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="{quoted}";'
    java = {"security.protocol": "SASL_PLAINTEXT", "sasl.jaas.config": jaas, "value.deserializer": "x.Y"}
    text = "".join(java_properties.line(name, value) for name, value in java.items())
    assert translated(java_properties.parsed(text, "f"), "f") == {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u",
        "sasl.password": password,
    }  # fmt: skip


JAVA = {
    "PEM files": (
        (
            "ssl.truststore.type=PEM\nssl.truststore.location=ca.crt\nssl.truststore.password=x\n"
            "ssl.keystore.type=PEM\nssl.keystore.location=me.pem\nssl.key.password=k\n"
            "ssl.endpoint.identification.algorithm=\n"
        ),
        {
            "ssl.ca.location": "ca.crt", "ssl.key.location": "me.pem", "ssl.certificate.location": "me.pem",
            "ssl.key.password": "k", "ssl.endpoint.identification.algorithm": "none",
        },
    ),
    "PEM in the file": (
        (
            "ssl.truststore.type=PEM\nssl.truststore.certificates=-----BEGIN CERTIFICATE----- \\\n  abc\n"
            "ssl.keystore.type=PEM\nssl.keystore.key=K\nssl.keystore.certificate.chain=C\n"
        ),
        {"ssl.ca.pem": "-----BEGIN CERTIFICATE----- abc", "ssl.key.pem": "K", "ssl.certificate.pem": "C"},
    ),
    "PKCS12": (
        "ssl.keystore.type=PKCS12\nssl.keystore.location=me.p12\nssl.keystore.password=p\n",
        {"ssl.keystore.location": "me.p12", "ssl.keystore.password": "p"},
    ),
    "SCRAM by name": (
        "sasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config=a.b.ScramLoginModule required username=u password='p q';\n",
        {"sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "u", "sasl.password": "p q"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", JAVA)
def test_java_s_settings_are_translated(tmp_path: Path, what: str) -> None:
    """Each to the ones that librdkafka has for it."""
    text, expected = JAVA[what]
    file = tmp_path / "java.properties"
    file.write_text(text)
    assert client_properties(file) == expected


REFUSED = {
    "sasl.usernme=x": "librdkafka has no setting 'sasl.usernme'; is sasl.username meant?",
    "error_cb=x": "librdkafka has no setting 'error_cb'",
    "security.protocol=SASL_SSL ": "security.protocol cannot be 'SASL_SSL ', and ends with a blank",
    "security.protocol=SASL_SSL": "sasl.mechanism is missing; PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are",
    "security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI": "sasl.mechanism GSSAPI is not built in here; PLAIN, ",
    "security.protocol=SSL\nssl.ca.location=/nowhere/ca.crt":
        "ssl.ca.location names '/nowhere/ca.crt': No such file or directory",
    "security.protocol=SSL\nssl.key.location={here}\nssl.key.password=SECRET":
        "ssl.key.location names {here}, which holds no private key in PEM form that ssl.key.password opens",
    "security.protocol=SSL\nssl.ca.pem=SECRET": "ssl.ca.pem",
    "session.timeout.ms=0": "outside allowed range",
    "sasl.password=SECRET\nnonsense": "line 2 must read name=value",
    "sasl.jaas.config=a.Krb5LoginModule required keyTab=SECRET;": "asks for Krb5LoginModule, which cannot be",
    "sasl.jaas.config=SECRET": "does not read `a.LoginModule required",
    "sasl.jaas.config=a.PlainLoginModule required password=SECRET;": "sasl.jaas.config names no username",
    "ssl.truststore.location=a.jks\nssl.truststore.password=SECRET": "is a Java key store (JKS)",
    "ssl.keystore.type=JKS\nssl.keystore.location=a.jks\nssl.keystore.password=SECRET": "-deststoretype PKCS12",
    "ssl.enabled.protocols=TLSv1.3": "ssl.enabled.protocols is Java's, and has no counterpart",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_librdkafka_does_not_take_is_a_sentence(tmp_path: Path, text: str) -> None:
    """It names the file and the setting, and never what is secret."""
    file = tmp_path / "client.properties"
    file.write_text(text.replace("{here}", str(file)))
    with pytest.raises(ConfigError) as caught:
        client_config("localhost:1", file)
    told = str(caught.value)
    assert told.startswith(str(file)) and REFUSED[text].replace("{here}", str(file)) in told, told
    assert "SECRET" not in told and "\n" not in told


def test_a_broker_s_file_is_java_s(tmp_path: Path) -> None:
    """Values over several lines; a backslash that begins no escape stays."""
    file = tmp_path / "server.properties"
    file.write_text('a.jaas.config=x required \\\n   password="ü\\\\x";\nb=c\\d \n', "utf-8")
    assert broker_properties(file) == {"a.jaas.config": 'x required password="ü\\x";', "b": "c\\d "}


def test_the_names_are_librdkafka_s() -> None:
    """Each that is offered to someone who misspelt one."""
    unknown = []
    for name in NAMES:
        try:
            AdminClient({name: "?", "log_level": 0} if name != "log_level" else {name: "?"})
        except (KafkaException, TypeError, ValueError) as error:
            unknown += [name] if "No such configuration property" in str(error) else []
    assert not unknown
