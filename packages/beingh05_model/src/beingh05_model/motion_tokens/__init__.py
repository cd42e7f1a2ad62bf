"""Motion tokens of human chunks (paper 5.2.2, eq. 8): tokenizers of wrists and fingers, their training and their use.

Read ``layout`` for what a token stands for, ``tokenizer`` for how a chunk becomes tokens and back, ``train`` for how
the tokenizers are learned from the human shards of a recipe.
"""
