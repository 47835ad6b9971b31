"""The pages that let people in, and the page that says who is in: first visit, sign in, keys, links."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator

import msgspec
from flask import Blueprint, Response, current_app, g, redirect, render_template, request, url_for
from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.wrappers import Response as AnyResponse

from webui.access import current_access, give_cookie, take_cookie, visitor
from webui.access_store import AccessError, AlreadySetUpError, NotFoundError, WrongSetupCodeError
from webui.certificates import Certificates
from webui.describing import HTML, described, html_page
from webui.guard import read_form, sentence
from webui.hosts import is_loopback
from webui.passwords import LENGTH_MAX, LENGTH_MIN, BusyError, PasswordError

STATUS_OF = {
    AlreadySetUpError: 409,
    WrongSetupCodeError: 401,
    NotFoundError: 404,
    PasswordError: 400,
    BusyError: 429,
}
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("HeadlessChrome", "Chrome"),
    ("Safari", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
)


CERTIFICATE = "application/x-x509-ca-cert"


class SignInForm(msgspec.Struct, frozen=True):
    """The password, and the page that somebody wanted to see."""

    password: str = ""
    next: str = ""


class FirstVisitForm(msgspec.Struct, frozen=True):
    """The code that the car's console shows, and the password twice."""

    code: str = ""
    password: str = ""
    again: str = ""
    next: str = ""


class PasswordForm(msgspec.Struct, frozen=True):
    """The present password, and the new one twice."""

    old: str = ""
    password: str = ""
    again: str = ""


class LinkForm(msgspec.Struct, frozen=True):
    """The secret of a link."""

    link: str = ""
    next: str = ""


class IdForm(msgspec.Struct, frozen=True):
    """One of the list."""

    id: str = ""


class NameForm(msgspec.Struct, frozen=True):
    """What it is to be called."""

    name: str = ""


class StopForm(msgspec.Struct, frozen=True):
    """Whether the emergency stop asks who presses it: yes or no."""

    needs_sign_in: str = ""


class _RefusedError(Exception):
    """A form is shown again with a sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = sentence(message)
        self.status = status


def make_blueprint(certificates: Certificates | None = None) -> Blueprint:
    """Return the pages of access; with HTTPS, the certificates that it is served by."""
    blueprint = Blueprint("access", __name__)

    # ---- coming in ----

    @blueprint.get("/setup")
    @html_page
    def setup() -> str | AnyResponse:
        store = current_access().store
        if store.has_password:
            return redirect(url_for("access.login"), 303)
        store.setup_code()  # so that `lapwing setup-code` has one to show
        return _setup_page()

    @blueprint.post("/setup")
    @described(form=FirstVisitForm, answers={303: None}, refuses=(409, 429))
    def set_up() -> AnyResponse | tuple[str, int]:
        """Set the first password; of two visitors at once the second gets 409."""
        access, form = current_access(), read_form(FirstVisitForm)
        try:
            with _as_refusal():
                if access.store.has_password:
                    raise AlreadySetUpError("somebody has set the password already; sign in with it")
                password = _new_password(form)
                with _one_guess():
                    access.store.set_first_password(form.code, access.passwords.hash(password))
        except _RefusedError as refused:
            if refused.status == 409:
                return _login_page(refused.message), 409
            return _setup_page(refused.message, code=form.code), refused.status
        return _let_in("the first visit")

    @blueprint.get("/login")
    @html_page
    def login() -> str | AnyResponse:
        if g.visitor is not None and g.visitor.may_drive:
            return redirect(_next_page(), 303)
        if not current_access().store.has_password:
            return redirect(url_for("access.setup"), 303)
        return _login_page()

    @blueprint.post("/login")
    @described(form=SignInForm, answers={303: None}, refuses=(429,))
    def sign_in() -> AnyResponse | tuple[str, int]:
        """Come in by the password."""
        access = current_access()
        try:
            with _as_refusal(), _one_guess():
                if not access.passwords.is_right(
                    read_form(SignInForm).password, access.store.state().password
                ):
                    raise _RefusedError("that is not the password; try again", 401)
        except _RefusedError as refused:
            return _login_page(refused.message), refused.status
        return _let_in("the password")

    @blueprint.get("/sign-in")
    @html_page
    def one_time_link() -> str:
        return render_template("arrive.html", link=request.args.get("link", ""), watching=False)

    @blueprint.post("/sign-in")
    @described(form=LinkForm, answers={303: None})
    def spend_link() -> AnyResponse | tuple[str, int]:
        """Come in by a link that lets in once."""
        if not current_access().store.spend_sign_in_link(read_form(LinkForm).link):
            message = "This link was used already, or is older than ten minutes. Ask for another, or sign in."
            return _login_page(message), 401
        return _let_in("a one-time link")

    @blueprint.get("/watch")
    @html_page
    def view_link() -> str:
        return render_template("arrive.html", link=request.args.get("link", ""), watching=True)

    @blueprint.post("/watch")
    @described(form=LinkForm, answers={303: None})
    def begin_to_watch() -> AnyResponse | tuple[str, int]:
        """Come in to watch, by a link of the owner's."""
        store = current_access().store
        link = store.view_link(read_form(LinkForm).link)
        if link is None:
            return _login_page("This link was revoked. Ask the car's owner for another."), 401
        response = redirect("/", 303)
        give_cookie(response, store.open_session("viewer", link.name, link.id))
        return response

    @blueprint.get("/ca.crt")
    @described(answers={200: CERTIFICATE}, refuses=(404,))
    def authority() -> AnyResponse:
        """Give the certificate that a phone may trust; there is nothing secret in it."""
        if certificates is None:
            raise NotFound("This page is served over plain HTTP, so there is no certificate to trust.")
        response = Response(certificates.authority_der(), mimetype=CERTIFICATE)
        response.headers["Content-Disposition"] = 'attachment; filename="lapwing-car.crt"'
        return response

    @blueprint.app_context_processor
    def connection() -> dict[str, object]:
        return {
            "fingerprint": "" if certificates is None else certificates.fingerprint,
            "is_plain": not request.is_secure and not is_loopback(request.host),
        }

    # ---- who is in ----

    @blueprint.get("/access")
    @html_page
    def page() -> str:
        return _access_page()

    @blueprint.post("/access/sign-out")
    @described(answers={303: None})
    def sign_out() -> AnyResponse:
        """End this browser's session."""
        current_access().store.close_session(visitor().credential)
        response = redirect(url_for("access.login"), 303)
        take_cookie(response)
        return response

    @blueprint.post("/access/password")
    @described(form=PasswordForm, answers={303: None}, refuses=(429,))
    def change_password() -> AnyResponse | tuple[str, int]:
        """Set another password; every other browser is signed out, this one comes in anew."""
        access, form = current_access(), read_form(PasswordForm)

        def change() -> None:
            with _one_guess():
                if not access.passwords.is_right(form.old, access.store.state().password):
                    raise _RefusedError("that is not the present password; nothing was changed", 401)
            access.store.set_password(access.passwords.hash(_new_password(form)))

        refused = _try(change)
        return refused or _let_in("a changed password", "access.page")

    @blueprint.post("/access/sessions/close")
    @described(form=IdForm, answers={303: None}, refuses=(404,))
    def close_session() -> AnyResponse | tuple[str, int]:
        """Sign another browser out."""
        return _try(lambda: current_access().store.close_session(read_form(IdForm).id)) or _back()

    @blueprint.post("/access/keys")
    @described(form=NameForm, answers={201: HTML})
    def make_key() -> tuple[str, int]:
        """Make an API key; the page that comes back shows it, once."""
        with _as_forbidden():
            key = current_access().store.make_key(read_form(NameForm).name)
        return _access_page(new_key=key), 201

    @blueprint.post("/access/keys/revoke")
    @described(form=IdForm, answers={303: None}, refuses=(404,))
    def revoke_key() -> AnyResponse | tuple[str, int]:
        """End what an API key lets in."""
        return _try(lambda: current_access().store.revoke_key(read_form(IdForm).id)) or _back()

    @blueprint.post("/access/view-links")
    @described(form=NameForm, answers={201: HTML})
    def make_view_link() -> tuple[str, int]:
        """Make a view-only link; the page that comes back shows it, once."""
        with _as_forbidden():
            secret = current_access().store.make_view_link(read_form(NameForm).name)
        return _access_page(new_link=url_for("access.view_link", link=secret, _external=True)), 201

    @blueprint.post("/access/view-links/revoke")
    @described(form=IdForm, answers={303: None}, refuses=(404,))
    def revoke_view_link() -> AnyResponse | tuple[str, int]:
        """End a view-only link and what it let in."""
        return _try(lambda: current_access().store.revoke_view_link(read_form(IdForm).id)) or _back()

    @blueprint.post("/access/stop")
    @described(form=StopForm, answers={303: None})
    def set_stop_needs_sign_in() -> AnyResponse | tuple[str, int]:
        """Say whether the emergency stop asks who presses it, as at an event."""
        needed = read_form(StopForm).needs_sign_in == "yes"
        return _try(lambda: current_access().store.set_stop_needs_sign_in(needed)) or _back()

    return blueprint


def _setup_page(problem: str = "", code: str = "") -> str:
    return render_template(
        "setup.html", problem=problem, code=code, length_min=LENGTH_MIN, length_max=LENGTH_MAX
    )


def _login_page(problem: str = "") -> str:
    return render_template("login.html", problem=problem, next=_next_page())


def _access_page(problem: str = "", new_key: str = "", new_link: str = "") -> str:
    store = current_access().store
    own = visitor().credential
    sessions = [
        {
            "id": key,
            "name": session.name,
            "kind": session.kind,
            "own": key == own,
            "used": _ago(store.idle_s(session)),
        }
        for key, session in sorted(store.sessions(), key=lambda each: (each[0] != own, store.idle_s(each[1])))
    ]
    state = store.state()
    return render_template(
        "access.html",
        problem=problem,
        new_key=new_key,
        new_link=new_link,
        sessions=sessions,
        keys=state.keys,
        view_links=state.view_links,
        stop_needs_sign_in=state.stop_needs_sign_in,
        length_min=LENGTH_MIN,
        length_max=LENGTH_MAX,
    )


def _let_in(how: str, endpoint: str = "") -> AnyResponse:
    store = current_access().store
    token = store.open_session("owner", browser_name(request.headers.get("User-Agent", "")))
    current_app.logger.info("signed in by %s from %s", how, request.remote_addr)
    response = redirect(url_for(endpoint) if endpoint else _next_page(), 303)
    give_cookie(response, token)
    return response


def _back() -> AnyResponse:
    return redirect(url_for("access.page"), 303)


def _new_password(form: FirstVisitForm | PasswordForm) -> str:
    if form.password != form.again:
        raise _RefusedError("the two passwords differ; type the same one twice", 400)
    return form.password


def _next_page() -> str:
    """Return the page of ours that somebody wanted to see; anything else leads to the first."""
    wanted = request.form.get("next") or request.args.get("next") or "/"
    ours = {url_for(endpoint) for endpoint, _ in current_app.config["PAGES"]}
    return wanted if wanted in {*ours, url_for("access.page")} else "/"


@contextlib.contextmanager
def _one_guess() -> Iterator[None]:
    """Count an attempt from this address, and forget it when it was right."""
    limiter = current_access().limiter
    address = request.remote_addr or ""
    wait_s = limiter.begin(address)
    if wait_s > 0:
        raise _RefusedError(
            f"too many attempts; try again in {math.ceil(wait_s)} s (the emergency stop works all the while)",
            429,
        )
    try:
        yield
    except (WrongSetupCodeError, _RefusedError):
        current_app.logger.warning("a wrong password or code from %s", address)
        raise
    limiter.succeeded(address)


@contextlib.contextmanager
def _as_refusal() -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        raise _RefusedError(str(error), STATUS_OF.get(type(error), 503)) from error


@contextlib.contextmanager
def _as_forbidden() -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        raise Forbidden(sentence(str(error))) from error


def _try(change: Callable[[], None]) -> tuple[str, int] | None:
    """Do a change of the access page; return the page with the reason where it was refused."""
    try:
        with _as_refusal():
            change()
    except _RefusedError as refused:
        return _access_page(problem=refused.message), refused.status
    return None


def browser_name(user_agent: str) -> str:
    """Return what a browser says it is, in words for people: `Chrome on Android`."""
    browser = next((name for mark, name in BROWSERS if re.search(rf"\b{mark}\w*/", user_agent)), "A browser")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser


def _ago(age_s: float) -> str:
    for limit_s, unit_s, unit in ((90, 1, "now"), (5400, 60, "min"), (129600, 3600, "h")):
        if age_s < limit_s:
            return "now" if unit == "now" else f"{age_s / unit_s:.0f} {unit} ago"
    return f"{age_s / 86400:.0f} days ago"
