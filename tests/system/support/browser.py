"""Drives a headless Chromium: steps as JSON in, where it ended and what it shows as JSON out.

Steps, where a name is an id, the name of a field or a class: ["open", url], ["fill", name, text], ["press", name], ["submit"], ["await", text that the page shows], ["end", part of
the address, at which the page may not load].
It reaches this machine only.
"""

import json
import sys
import tempfile

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait


def text(driver):
    try:
        return driver.find_element(By.TAG_NAME, "body").text
    except WebDriverException:
        # The page is being replaced by another one.
        return ""


def find(driver, name):
    by = f"#{name}, [name='{name}'], .{name}"
    return WebDriverWait(driver, 60).until(lambda driver: driver.find_element(By.CSS_SELECTOR, by))


def step(driver, words):
    verb, *rest = words
    if verb == "open":
        try:
            driver.get(rest[0])
        except WebDriverException as error:
            if "ERR_" not in str(error):
                raise
    elif verb == "fill":
        field = find(driver, rest[0])
        field.clear()
        field.send_keys(rest[1])
    elif verb == "press":
        page = driver.find_element(By.TAG_NAME, "html")
        find(driver, rest[0]).click()
        WebDriverWait(driver, 60).until(staleness_of(page))
    elif verb == "submit":
        # With the page before it still in place a second press would hit that.
        page = driver.find_element(By.TAG_NAME, "html")
        driver.find_element(By.CSS_SELECTOR, "button[type='submit']").click()
        WebDriverWait(driver, 60).until(staleness_of(page))
    elif verb == "await":
        WebDriverWait(driver, 60).until(lambda driver: rest[0] in text(driver))
    elif verb == "end":
        WebDriverWait(driver, 60).until(lambda driver: rest[0] in driver.current_url)
    else:
        raise ValueError(verb)


def main():
    with tempfile.TemporaryDirectory(prefix="submitd-browser-") as home:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in [
            "--headless=new",
            # Root, as in CI, has no sandbox; the pages are ours.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
            f"--user-data-dir={home}",
        ]:
            options.add_argument(argument)
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            for words in json.loads(sys.argv[1]):
                step(driver, words)
            json.dump({"url": driver.current_url, "text": text(driver)}, sys.stdout)
        finally:
            driver.quit()


main()
