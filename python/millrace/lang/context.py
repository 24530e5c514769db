"""What a state has said so far: plain text, or messages with roles. Immutable, so forks share it."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Context:
    plain: str = ""        # a program without roles
    messages: tuple = ()   # ((role, content), ...), complete ones
    open_role: str = ""    # the message being written
    open_text: str = ""

    def begin(self, role):
        if self.open_role:
            raise ValueError(f"role {role} begins inside role {self.open_role}")
        if self.plain:
            raise ValueError(f"role {role} begins after text without a role")
        return dataclasses.replace(self, open_role=role, open_text="")

    def end(self, role):
        if self.open_role != role:
            raise ValueError(f"role {role} ends, but {'no role' if not self.open_role else 'role ' + self.open_role} is open")
        return dataclasses.replace(self, messages=self.messages + ((role, self.open_text),), open_role="", open_text="")

    def add(self, text):
        if self.open_role:
            return dataclasses.replace(self, open_text=self.open_text + text)
        if self.messages:
            raise ValueError("text without a role after messages with roles")
        return dataclasses.replace(self, plain=self.plain + text)

    def may_generate(self):
        if self.messages and not self.open_role:
            raise ValueError("gen() and select() after messages belong into assistant(...)")
        if self.open_role and self.open_role != "assistant":
            raise ValueError(f"gen() and select() belong into role assistant, not {self.open_role}")

    def text(self):
        """Everything, for people: roles are lines of their own."""
        if not self.messages and not self.open_role:
            return self.plain
        parts = list(self.messages) + ([(self.open_role, self.open_text)] if self.open_role else [])
        return "".join(f"{role}: {content}\n" for role, content in parts)

    def list(self):
        parts = list(self.messages) + ([(self.open_role, self.open_text)] if self.open_role and self.open_text else [])
        return [{"role": role, "content": content} for role, content in parts]

    def request(self, more=""):
        """(path, body) of a call that goes on behind this context and `more`."""
        self.may_generate()
        if not self.open_role:
            return "/v1/completions", {"prompt": self.plain + more}
        messages = [{"role": role, "content": content} for role, content in self.messages]
        text = self.open_text + more
        if not text:
            return "/v1/chat/completions", {"messages": messages}
        messages.append({"role": "assistant", "content": text})
        return "/v1/chat/completions", {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}
