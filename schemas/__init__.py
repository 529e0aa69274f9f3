"""The wire's shapes: V7's request and answer, and the table of classes. They know nothing of the other rooms."""
