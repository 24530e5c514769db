"""JSON that always has the wanted shape: a schema, a regular expression and a number, held while the model writes.
json_decoding.py URL"""
import json
import sys

from millrace import RuntimeEndpoint, assistant, function, gen, set_default_backend, system, user

CITY = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 30}, "country": {"type": "string", "maxLength": 30},
                                         "has_river": {"type": "boolean"}, "population": {"type": "integer", "minimum": 0, "maximum": 50_000_000}},
        "required": ["name", "country", "has_river", "population"]}


@function
def describe(s, city):
    s += system("You write facts as JSON.") + user(f"Describe the city {city}.")
    s += assistant(gen("city", max_tokens=120, temperature=0, json_schema=CITY))
    s += user("In which year was it first mentioned?")
    s += assistant("It was first mentioned in " + gen("year", max_tokens=8, temperature=0, regex=r"[1-9][0-9]{2,3}") + ".")
    s += user("How many bridges does it have?")
    s += assistant(gen("bridges", max_tokens=8, temperature=0, dtype=int))


def main(url):
    set_default_backend(RuntimeEndpoint(url))
    state = describe.run("Paris")
    print(json.dumps(json.loads(state["city"]), indent=1), state["year"], state["bridges"], sep="\n")
    return state


if __name__ == "__main__":
    main(sys.argv[1])
