import pytest

import support


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return support.Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def gateway(site):
    with site.gateway() as service:
        yield service


@pytest.fixture(scope="session")
def connector(site, gateway):
    with site.connector(gateway.url) as service:
        yield service


@pytest.fixture(scope="session")
def client(site, gateway):
    return support.PythonClient(gateway.url, site.root, site.pinned, site.python)


@pytest.fixture(scope="session")
def fallback_gateway(site, gateway):
    with site.gateway(FALLBACK_CRYPTO="enabled") as service:
        yield service
